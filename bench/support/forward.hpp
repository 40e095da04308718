#pragma once

#include <memory>
#include <softlook/attention.hpp>
#include <softlook/exec/thread_pool.hpp>
#include <softlook/layer/multi_head.hpp>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "support/fair_naive.hpp"
#include "support/inputs.hpp"
#include "support/row.hpp"

namespace bench {

/// naive: plain Eigen (fair_naive.hpp); flash: the tiled kernel forced; automatic: softlook
/// chooses.
enum class path { naive, flash, automatic };

struct shape {
  index n = 0;
  index m = 0;
  index d = 0;
  index heads = 1;
  int threads = 1;
  bool causal = false;
};

[[nodiscard]] inline std::string forward_name(path which, const std::string& score,
                                              const shape& s) {
  const auto number = [](auto x) { return std::to_string(x); };
  const char* const by = which == path::naive ? "naive" : which == path::flash ? "flash" : "auto";
  return std::string("forward/") + by + "/" + score + (s.causal ? "/causal" : "/full") +
         "/n:" + number(s.n) + "/m:" + number(s.m) + "/d:" + number(s.d) +
         "/heads:" + number(s.heads) + "/threads:" + number(s.threads);
}

template <class T>
struct dot_inputs {
  matrix<T> Q, K, V;

  explicit dot_inputs(const shape& s)
      : Q(random_matrix<T>(s.n, s.heads * s.d, 1)),
        K(random_matrix<T>(s.m, s.heads * s.d, 2)),
        V(random_matrix<T>(s.m, s.heads * s.d, 3)) {}

  /// Rows that follow each other use the same inputs, whatever their path and mask.
  static std::shared_ptr<const dot_inputs> of(const shape& s) {
    using key = std::tuple<index, index, index, index>;
    static key kept_key{};
    static std::shared_ptr<const dot_inputs> kept;
    if (const key wanted{s.n, s.m, s.d, s.heads}; kept == nullptr || kept_key != wanted) {
      kept.reset();
      kept = std::make_shared<const dot_inputs>(s);
      kept_key = wanted;
    }
    return kept;
  }
};

template <class X>
[[nodiscard]] fair_naive::matrix<const typename X::Scalar> naive_view(const X& x) {
  return {x.data(), x.rows(), x.cols(), x.outerStride()};
}
template <class X>
[[nodiscard]] fair_naive::matrix<typename std::decay_t<X>::Scalar> naive_output(X&& x) {
  return {x.data(), x.rows(), x.cols(), x.outerStride()};
}

/// The naive path over heads, or with several threads over blocks of queries; every worker keeps
/// its buffers between calls. Several threads with one head want a full mask.
template <class T>
class naive_runner {
 public:
  naive_runner(const shape& s, std::shared_ptr<const softlook::exec::thread_pool> pool)
      : shape_(s), pool_(std::move(pool)) {
    for (int worker = 0; worker < s.threads; ++worker) kept_.push_back(fair_naive::make_buffers());
  }

  void operator()(const matrix<T>& Q, const matrix<T>& K, const matrix<T>& V, matrix<T>& O) const {
    const index blocks = shape_.heads == 1 ? shape_.threads : 1;
    pool_->bulk(shape_.heads * blocks, [&](index task, index worker) {
      const index head = task / blocks, block = task % blocks, d = shape_.d;
      const index first = shape_.n * block / blocks, end = shape_.n * (block + 1) / blocks;
      fair_naive::dot(naive_view(Q.block(first, head * d, end - first, d)),
                      naive_view(K.middleCols(head * d, d)), naive_view(V.middleCols(head * d, d)),
                      naive_output(O.block(first, head * d, end - first, d)), shape_.causal,
                      *kept_[static_cast<std::size_t>(worker)]);
    });
  }

 private:
  shape shape_;
  std::shared_ptr<const softlook::exec::thread_pool> pool_;
  std::vector<std::shared_ptr<fair_naive::buffers>> kept_;
};

/// The call that a user writes. One thread is the default executor, not a pool of one.
template <class T, class... Policies>
void softlook_call(path which, const shape& s, const matrix<T>& Q, const matrix<T>& K,
                   const matrix<T>& V, matrix<T>& O, const Policies&... policies) {
  if (s.heads > 1) {
    softlook::options pinned;
    if (which == path::flash) pinned.kernel = softlook::kernel::tiled;
    softlook::attention_into(Q, K, V, O, softlook::heads{.query = s.heads}, pinned, policies...);
  } else if (which == path::flash) {
    softlook::flash_attention_into(Q, K, V, O, policies...);
  } else {
    softlook::attention_into(Q, K, V, O, policies...);
  }
}

template <class T>
void softlook_masked(path which, const shape& s, const softlook::exec::thread_pool& pool,
                     const matrix<T>& Q, const matrix<T>& K, const matrix<T>& V, matrix<T>& O) {
  const softlook::masks::causal_top_left causal;
  if (s.causal && s.threads > 1)
    softlook_call(which, s, Q, K, V, O, causal, pool);
  else if (s.causal)
    softlook_call(which, s, Q, K, V, O, causal);
  else if (s.threads > 1)
    softlook_call(which, s, Q, K, V, O, pool);
  else
    softlook_call(which, s, Q, K, V, O);
}

template <class T>
[[nodiscard]] double dot_error(const dot_inputs<T>& in, const matrix<T>& O, const shape& s) {
  double worst = 0;
  for (index head = 0; head < s.heads; ++head) {
    const auto of_head = [&](const matrix<T>& X) { return X.middleCols(head * s.d, s.d); };
    const auto Q = of_head(in.Q), K = of_head(in.K), V = of_head(in.V), result = of_head(O);
    const double error = sampled_error(V, result, s.causal, dot_scores(Q, K));
    if (!(error <= worst)) worst = error;
    if (std::isnan(worst)) break;
  }
  return worst;
}

/// The largest difference from the naive path over all entries; 0 where its scores would not fit
/// in a reasonable time, and the sampled rows have to do.
template <class T>
[[nodiscard]] double difference_from_naive(const dot_inputs<T>& in, const matrix<T>& O,
                                           const shape& s) {
  constexpr double most_scores = 4096.0 * 4096.0 * 2;
  if (double(s.n) * double(s.m) * double(s.heads) > most_scores) return 0;
  shape alone = s;
  alone.threads = 1;
  const naive_runner<T> naive(alone, std::make_shared<const softlook::exec::thread_pool>(1));
  matrix<T> expected(O.rows(), O.cols());
  naive(in.Q, in.K, in.V, expected);
  return double((expected - O).cwiseAbs().maxCoeff());
}

/// The work call(inputs, O), whose result is softmax(Q Kᵀ/√d) V.
template <class T, class F>
[[nodiscard]] prepared_row dot_work(const shape& s, const F& call) {
  const auto in = dot_inputs<T>::of(s);
  const auto O = std::make_shared<matrix<T>>(matrix<T>::Zero(s.n, s.heads * s.d));
  prepared_row work;
  work.call = [in, O, call] { call(*in, *O); };
  work.error = [in, O, s] { return dot_error(*in, *O, s); };
  work.tolerance = tolerance<T>();
  return work;
}

/// softmax(Q Kᵀ/√d) V, packed heads.
template <class T>
[[nodiscard]] row dot_row(path which, const shape& s) {
  row r{.name = forward_name(which, "dot", s),
        .flops = 4.0 * double(s.n) * double(s.m) * double(s.d * s.heads) * (s.causal ? 0.5 : 1),
        .scalar = precision_of<T>,
        .threads = s.threads,
        .prepare = {}};
  r.prepare = [which, s] {
    const auto in = dot_inputs<T>::of(s);
    const auto O = std::make_shared<matrix<T>>(matrix<T>::Zero(s.n, s.heads * s.d));
    const auto pool = std::make_shared<const softlook::exec::thread_pool>(s.threads);
    prepared_row work;
    if (which == path::naive) {
      work.call = [in, O, naive = naive_runner<T>(s, pool)] { naive(in->Q, in->K, in->V, *O); };
      work.first_call = [in, O, s, pool] { naive_runner<T>(s, pool)(in->Q, in->K, in->V, *O); };
    } else {
      work.call = [in, O, which, s, pool] {
        softlook_masked(which, s, *pool, in->Q, in->K, in->V, *O);
      };
      work.difference = [in, O, s] { return difference_from_naive(*in, *O, s); };
    }
    work.error = [in, O, s] { return dot_error(*in, *O, s); };
    work.tolerance = tolerance<T>();
    return work;
  };
  return r;
}

}  // namespace bench
