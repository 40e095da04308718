// What does each instruction set reach of its own P? The machine may have a better one: these are
// the figures of machines that do not.

#include "support/forward.hpp"

namespace {

using bench::index;
using bench::matrix;
using bench::shape;

[[nodiscard]] bench::row pinned_row(softlook::instruction_set isa, const shape& s) {
  bench::row r = bench::dot_row<float>(bench::path::flash, s);
  r.name += std::string("/") + softlook::name_of(isa);
  r.register_bytes = isa == softlook::instruction_set::avx512 ? 64
                     : isa == softlook::instruction_set::avx2 ? 32
                                                              : 16;
  r.prepare = [isa, s] {
    const auto in = bench::dot_inputs<float>::of(s);
    const auto O = std::make_shared<matrix<float>>(matrix<float>::Zero(s.n, s.d));
    const softlook::options pinned{.isa = isa};
    bench::prepared_row work;
    work.call = [in, O, pinned, causal = s.causal] {
      if (causal)
        softlook::flash_attention_into(in->Q, in->K, in->V, *O, softlook::masks::causal_top_left{},
                                       pinned);
      else
        softlook::flash_attention_into(in->Q, in->K, in->V, *O, pinned);
    };
    work.error = [in, O, s] { return bench::dot_error(*in, *O, s); };
    work.tolerance = bench::tolerance<float>();
    return work;
  };
  return r;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<bench::row> rows;
  for (const softlook::instruction_set isa : softlook::available_instruction_sets()) {
    rows.push_back(pinned_row(isa, {.n = 2048, .m = 2048, .d = 64}));
    rows.push_back(pinned_row(isa, {.n = 2048, .m = 2048, .d = 128}));
    rows.push_back(pinned_row(isa, {.n = 2048, .m = 2048, .d = 128, .causal = true}));
  }
  return bench::run_rows(argc, argv, std::move(rows));
}
