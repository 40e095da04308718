// What does a user's score function cost? A row for each function and instruction set; the counter
// `relative_time` is the row's time over that of the same call without a transform, timed before
// and after. `none` compares that call with itself: its distance from 1 is the noise. CXX=clang++
// (or another compiler) before the command compares compilers, which vectorise such loops
// differently.

#include <cstdint>
#include <cstdlib>

#include "support/alibi.hpp"
#include "support/forward.hpp"

namespace {

using bench::alibi;
using bench::index;
using bench::matrix;
using bench::shape;

// Named types, not lambdas: the oracle takes them in double.
struct none {
  template <class T>
  T operator()(T s, std::int32_t, std::int32_t) const {
    return s;
  }
};

struct soft_cap {
  float cap = 4;
  template <class T>
  T operator()(T s, std::int32_t, std::int32_t) const {
    return T(cap) * softlook::math::tanh(s / T(cap));
  }
};

struct soft_cap_std {
  float cap = 4;
  template <class T>
  T operator()(T s, std::int32_t, std::int32_t) const {
    return T(cap) * std::tanh(s / T(cap));
  }
};

// Near keys gain, far keys in the future lose half: with branches, and the same without.
struct branchy {
  template <class T>
  T operator()(T s, std::int32_t i, std::int32_t j) const {
    if (j > i + 64) return s * T(0.5);
    if (i - j < 16) return s + T(1);
    return s;
  }
};

struct selecting {
  template <class T>
  T operator()(T s, std::int32_t i, std::int32_t j) const {
    using softlook::math::select;
    return select(j > i + 64, s * T(0.5), select(i - j < 16, s + T(1), s));
  }
};

template <class F>
[[nodiscard]] bench::row functor_row(const char* name, softlook::instruction_set isa, const F& f) {
  constexpr index n = 2048, d = 64;
  bench::row r{
      .name = std::string("functor/") + name + "/" + softlook::name_of(isa) + "/n:2048/m:2048/d:64",
      .flops = 4.0 * double(n) * double(n) * double(d),
      .prepare = {}};
  r.prepare = [isa, f] {
    const auto in = bench::dot_inputs<float>::of({.n = n, .m = n, .d = d});
    const auto O = std::make_shared<matrix<float>>(matrix<float>::Zero(n, d));
    const auto plain = std::make_shared<matrix<float>>(matrix<float>::Zero(n, d));
    const softlook::options pinned{.isa = isa};
    bench::prepared_row work;
    if constexpr (std::is_same_v<F, none>)
      work.call = [in, O, pinned] {
        softlook::flash_attention_into(in->Q, in->K, in->V, *O, pinned);
      };
    else
      work.call = [in, O, pinned, f] {
        softlook::flash_attention_into(in->Q, in->K, in->V, *O, softlook::transforms::map(f),
                                       pinned);
      };
    work.others.push_back({.call = [in, plain, pinned] {
      softlook::flash_attention_into(in->Q, in->K, in->V, *plain, pinned);
    }});
    work.error = [in, O, f] {
      const auto raw = bench::dot_scores(in->Q, in->K);
      return bench::sampled_error(in->V, *O, false, [&](index i, index j) {
        return f(raw(i, j), static_cast<std::int32_t>(i), static_cast<std::int32_t>(j));
      });
    };
    work.tolerance = bench::tolerance<float>();
    return work;
  };
  return r;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<bench::row> rows;
  for (const softlook::instruction_set isa : softlook::available_instruction_sets()) {
    rows.push_back(functor_row("none", isa, none{}));
    rows.push_back(functor_row("alibi", isa, alibi{}));
    rows.push_back(functor_row("soft_cap_math_tanh", isa, soft_cap{}));
    rows.push_back(functor_row("soft_cap_std_tanh", isa, soft_cap_std{}));
    rows.push_back(functor_row("branches", isa, branchy{}));
    rows.push_back(functor_row("select", isa, selecting{}));
  }
  return bench::run_rows(argc, argv, std::move(rows));
}
