#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "softlook/engine/call/bound_call.hpp"
#include "softlook/engine/run/streamed_weights.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup weights Exact weights of long sequences
/// What queries look at, without a matrix of n×m weights: the maximum and the sum of each row are
/// found first, then the weights are computed again tile by tile, exactly, at the speed of the
/// tiled kernel:
///   P(i, j) = e^{S(i, j) − m_i} / l_i,  m_i = max_j S(i, j),  l_i = Σ_j e^{S(i, j) − m_i}
/// Each function takes what attention() takes: a score, transforms, a mask, an
/// executor, heads, a frame, options. Memory: O(n + m) for each head besides what is returned.
/// \cases tests/conformance/data/torch/sdpa
/// \program examples/hundred_thousand.cpp
/// \{

namespace detail {

/// One matrix, or one for each query head where heads{…} is given.
template <class Matrix, class... Ps>
[[nodiscard]] auto one_or_all(std::vector<Matrix>&& all) {
  if constexpr ((is_heads<Ps> || ...))
    return std::move(all);
  else
    return std::move(all.front());
}

template <class Q, class K, class... Ps>
constexpr bool check_weight_types() {
  constexpr bool whole = (!is_sequences<Ps> && ...);
  static_assert(whole, "softlook: ask for the weights of one sequence at a time");
  if constexpr (whole)
    return check_stored_types<Q, K, K, Ps...>();
  else
    return false;
}

/// f(weight stream) of a checked call, of some queries or of all.
template <class Q, class K, class F, class... Ps>
auto with_weights_of(const asked_queries& asked, const char* where, const Q& q, const K& k,
                     const F& f, const Ps&... ps) {
  auto bound = bind(where, q, k, no_values{}, ps...);
  using stated = std::remove_cvref_t<decltype(bound.policies())>;
  weight_stream<stated::is_additive, typename decltype(bound)::scalar> stream(bound.call(), asked);
  return f(stream);
}
template <class Q, class K, class F, class... Ps>
auto with_weights(const char* where, const Q& q, const K& k, const F& f, const Ps&... ps) {
  return with_weights_of({}, where, q, k, f, ps...);
}

/// f.take(block) as a function that kernels call.
template <class T, class F>
[[nodiscard]] weight_request<T> request_of(F& f) {
  return {&f, [](void* self, const weight_block<T>& block) { static_cast<F*>(self)->take(block); },
          nullptr};
}

/// Tasks of every head and every block of queries: f(head, queries, worker).
template <class Stream, class F>
void run_query_tasks(const Stream& s, const F& f) {
  const index blocks = ceil_div(s.queries(), s.step());
  run_tasks(s.exec(), blocks * s.heads(), [&](index task, index worker) {
    const index head = quotient(task, blocks), block = task - head * blocks;
    f(head, range{block * s.step(), std::min((block + 1) * s.step(), s.queries())}, worker);
  });
}
/// Tasks of every head and a part of the keys, whole tiles of them: f(head, keys, worker). A key's
/// sum is taken by one task, query after query, so no executor changes a bit.
template <class Stream, class F>
void run_key_tasks(const Stream& s, const F& f) {
  constexpr index tile = 768;  // a multiple of every key tile
  const index parts = std::max<index>(
      std::min(ceil_div(s.keys(), tile), ceil_div(4 * s.exec().concurrency, s.heads())), 1);
  const index step = ceil_div(ceil_div(s.keys(), tile), parts) * tile;
  run_tasks(s.exec(), parts * s.heads(), [&](index task, index worker) {
    const index head = quotient(task, parts), part = task - head * parts;
    const range keys = intersection({part * step, (part + 1) * step}, {0, s.keys()});
    if (!keys.empty()) f(head, keys, worker);
  });
}

inline void check_chosen(const char* where, const char* name, std::span<const index> chosen,
                         index count) {
  for (const index i : chosen)
    if (i < 0 || i >= count)
      raise_argument(where, name, double(i),
                     formatted("it lies between 0 and %td", count - 1).text);
}

/// Keys with the largest weights of each query so far, in descending order.
template <class T>
class strongest_of_block {
 public:
  strongest_of_block(index width, index count, std::int32_t* keys, T* weights, index stride,
                     index (*next_above)(const weight_block<T>&, index, const T*))
      : count_(count),
        least_(std::size_t(width)),
        keys_(keys),
        weights_(weights),
        stride_(stride),
        next_above_(next_above) {}

  void take(const weight_block<T>& block) {
    if (block.first_query != first_query_) start(block);
    for (index j = next_above_(block, 0, least_.data()); j < block.P.cols;
         j = next_above_(block, j + 1, least_.data()))
      for (index i = 0; i < block.P.rows; ++i)
        if (block.P(i, j) > least_[std::size_t(i)]) insert(block, i, j);
  }

 private:
  void start(const weight_block<T>& block) {
    first_query_ = block.first_query;
    for (std::size_t i = 0; i < least_.size(); ++i)
      least_[i] = index(i) < block.P.rows
                      ? weights_[(first_query_ + index(i)) * stride_ + count_ - 1]
                      : std::numeric_limits<T>::infinity();
  }
  void insert(const weight_block<T>& block, index i, index j) {
    const index row = (block.first_query + i) * stride_;
    index at = count_ - 1;
    for (; at > 0 && weights_[row + at - 1] < block.P(i, j); --at) {
      weights_[row + at] = weights_[row + at - 1];
      keys_[row + at] = keys_[row + at - 1];
    }
    weights_[row + at] = block.P(i, j);
    keys_[row + at] = std::int32_t(block.first_key + j);
    least_[std::size_t(i)] = weights_[row + count_ - 1];
  }

  index count_;
  std::vector<T> least_;
  std::int32_t* keys_;
  T* weights_;
  index stride_;
  index (*next_above_)(const weight_block<T>&, index, const T*);
  index first_query_ = -1;
};

template <class T>
struct sums_of_keys {
  void (*add_sums)(const weight_block<T>&, T*);
  T* sums;
  index first_key = 0;  // of the call, at sums[0]
  void take(const weight_block<T>& block) { add_sums(block, sums + first_key + block.first_key); }
};

template <class T>
struct copy_of_block {
  mutable_matrix_view<T> to;
  index first_query;
  void take(const weight_block<T>& block) {
    for (index j = 0; j < block.P.cols; ++j)
      for (index i = 0; i < block.P.rows; ++i)
        to(block.first_query - first_query + i, block.first_key + j) = block.P(i, j);
  }
};

template <class F, class T>
struct visitor_of_block {
  const F& visit;
  index head;
  void take(const weight_block<T>& block) {
    visit(block.P, block.first_query, block.first_key, head);
  }
};

}  // namespace detail

/// visit(P, first_query, first_key, head) for blocks of weights that cover every live pair once:
/// P(i, j), a matrix_view, is the weight of query first_query + i for key first_key + j of the
/// call. Pairs that are in no block have the weight 0. Blocks of the same queries come in the order
/// of their keys; with an executor blocks of different queries or heads come from several threads.
///
/// \see Dao et al., "FlashAttention", 2022, algorithm 4 (recomputation from row statistics).
/// \throws  as attention().
/// Cost: twice the scores of attention().
template <dense_expression Q, row_expression K, class F, class... Ps>
void for_each_weights(const Q& q, const K& k, const F& visit, const Ps&... policies) {
  if constexpr (detail::check_weight_types<Q, K, Ps...>()) {
    using T = detail::arithmetic<detail::scalar_of<Q>>;
    detail::with_weights(
        "for_each_weights", q, k,
        [&](const auto& stream) {
          detail::run_query_tasks(stream, [&](index head, range queries, index worker) {
            detail::visitor_of_block<F, T> visitor{visit, head};
            stream.walk(head, queries, {0, stream.keys()}, detail::request_of<T>(visitor), worker);
          });
        },
        policies...);
  }
}

/// The keys that each query looks at most: n×count keys of the call and their weights, largest
/// first, the earlier key first where they are equal; −1 and 0 where a query has fewer keys.
template <class T>
struct strongest {
  Eigen::Matrix<std::int32_t, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> keys;
  Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> weights;
};

/// The `count` strongest keys of each query; with heads{…} a vector, one for each query head.
/// \throws argument_error  for a negative count; else as attention().
template <dense_expression Q, row_expression K, class... Ps>
[[nodiscard]] auto strongest_weights(const Q& q, const K& k, index count, const Ps&... policies) {
  if constexpr (detail::check_weight_types<Q, K, Ps...>()) {
    using T = detail::arithmetic<detail::scalar_of<Q>>;
    constexpr const char* where = "strongest_weights";
    if (count < 0) detail::raise_argument(where, "count", double(count), "it is not negative");
    return detail::with_weights(
        where, q, k,
        [&](const auto& stream) {
          std::vector<strongest<T>> all(std::size_t(stream.heads()));
          for (strongest<T>& s : all) {
            s.keys.setConstant(stream.queries(), count, -1);
            s.weights.setZero(stream.queries(), count);
          }
          if (count > 0)
            detail::run_query_tasks(stream, [&](index head, range queries, index worker) {
              strongest<T>& s = all[std::size_t(head)];
              detail::strongest_of_block<T> best(stream.width(), count, s.keys.data(),
                                                 s.weights.data(), count,
                                                 stream.kernels().next_above);
              stream.walk(head, queries, {0, stream.keys()}, detail::request_of<T>(best), worker);
            });
          return detail::one_or_all<strongest<T>, Ps...>(std::move(all));
        },
        policies...);
  }
}

/// How much each key is looked at: Σ_i P(i, j), m numbers for each query head: m×1, or m×query with
/// heads{…}. They sum up to the queries that have a key.
template <dense_expression Q, row_expression K, class... Ps>
[[nodiscard]] auto key_weight_sums(const Q& q, const K& k, const Ps&... policies) {
  if constexpr (detail::check_weight_types<Q, K, Ps...>()) {
    using T = detail::arithmetic<detail::scalar_of<Q>>;
    return detail::with_weights(
        "key_weight_sums", q, k,
        [&](const auto& stream) {
          Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> sums(stream.keys(), stream.heads());
          sums.setZero();
          detail::run_key_tasks(stream, [&](index head, range keys, index worker) {
            detail::sums_of_keys<T> take{stream.kernels().add_sums,
                                         sums.data() + head * stream.keys(), keys.begin};
            stream.walk(head, {0, stream.queries()}, keys, detail::request_of<T>(take), worker);
          });
          return sums;
        },
        policies...);
  }
}

/// How widely each query looks: −Σ_j P(i, j) ln P(i, j), in nats, between 0 (one key, or none) and
/// ln m; n×1, or n×query with heads{…}.
template <dense_expression Q, row_expression K, class... Ps>
[[nodiscard]] auto weight_entropies(const Q& q, const K& k, const Ps&... policies) {
  if constexpr (detail::check_weight_types<Q, K, Ps...>()) {
    using T = detail::arithmetic<detail::scalar_of<Q>>;
    return detail::with_weights(
        "weight_entropies", q, k,
        [&](const auto& stream) {
          Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> H(stream.queries(), stream.heads());
          H.setZero();
          detail::run_query_tasks(stream, [&](index head, range queries, index worker) {
            detail::weight_request<T> wanted;
            wanted.entropy = H.data() + head * stream.queries();
            stream.walk(head, queries, {0, stream.keys()}, wanted, worker);
          });
          return H;
        },
        policies...);
  }
}

/// The weights of some queries: chosen.size()×m; with heads{…} one matrix for each query head.
/// Cost: of these queries alone.
/// \throws argument_error  for a row outside Q; else as attention().
template <dense_expression Q, row_expression K, class... Ps>
[[nodiscard]] auto weights_of_queries(const Q& q, const K& k, std::span<const index> chosen,
                                      const Ps&... policies) {
  if constexpr (detail::check_weight_types<Q, K, Ps...>()) {
    using matrix = detail::wide_matrix_like<Q>;
    using T = typename matrix::Scalar;
    constexpr const char* where = "weights_of_queries";
    detail::check_chosen(where, "a query", chosen, q.rows());
    return detail::with_weights_of(
        {.chosen = chosen}, where, q, k,
        [&](const auto& stream) {
          std::vector<matrix> all(std::size_t(stream.heads()));
          for (matrix& P : all) P.setZero(index(chosen.size()), stream.keys());
          detail::run_tasks(
              stream.exec(), index(chosen.size()) * stream.heads(), [&](index task, index worker) {
                const index head = task / index(chosen.size()), row = task % index(chosen.size());
                matrix& P = all[std::size_t(head)];
                detail::copy_of_block<T> take{detail::writable_view(P).rows_from(row, 1),
                                              chosen[std::size_t(row)]};
                stream.walk(head, {take.first_query, take.first_query + 1}, {0, stream.keys()},
                            detail::request_of<T>(take), worker);
              });
          return detail::one_or_all<matrix, Ps...>(std::move(all));
        },
        policies...);
  }
}

/// The weights of some keys: n×keys.size(); with heads{…} one matrix for each query head.
/// \throws argument_error  for a row outside K; else as attention().
template <dense_expression Q, row_expression K, class... Ps>
[[nodiscard]] auto weights_of_keys(const Q& q, const K& k, std::span<const index> chosen,
                                   const Ps&... policies) {
  if constexpr (detail::check_weight_types<Q, K, Ps...>()) {
    using matrix = detail::wide_matrix_like<Q>;
    using T = typename matrix::Scalar;
    constexpr const char* where = "weights_of_keys";
    detail::check_chosen(where, "a key", chosen, k.rows());
    return detail::with_weights(
        where, q, k,
        [&](const auto& stream) {
          std::vector<matrix> all(std::size_t(stream.heads()));
          for (matrix& P : all) P.setZero(stream.queries(), index(chosen.size()));
          detail::run_query_tasks(stream, [&](index head, range queries, index worker) {
            const auto to = detail::writable_view(all[std::size_t(head)]);
            for (std::size_t c = 0, end = 0; c < chosen.size(); c = end) {
              for (end = c + 1; end < chosen.size() && chosen[end] == chosen[end - 1] + 1;) ++end;
              detail::copy_of_block<T> take{to.columns(index(c), index(end - c)), 0};
              stream.walk(head, queries, {chosen[c], chosen[end - 1] + 1},
                          detail::request_of<T>(take), worker);
            }
          });
          return detail::one_or_all<matrix, Ps...>(std::move(all));
        },
        policies...);
  }
}

/// The weights as a picture of rows×cols pixels, each the mean of its block of weights: pixel (r,
/// c) is of queries [r·n/rows, (r + 1)·n/rows) and keys [c·m/cols, (c + 1)·m/cols). With heads{…}
/// one matrix for each query head. The part of the queries and keys to be drawn may be given: to
/// zoom.
/// \throws argument_error  unless there are at least as many queries and keys as pixels, and at
///         least one pixel; else as attention().
template <dense_expression Q, row_expression K, class... Ps>
[[nodiscard]] auto weight_pixels(const Q& q, const K& k, index rows, index cols, range queries,
                                 range keys, const Ps&... policies) {
  if constexpr (detail::check_weight_types<Q, K, Ps...>()) {
    using matrix = detail::wide_matrix_like<Q>;
    using T = typename matrix::Scalar;
    constexpr const char* where = "weight_pixels";
    const auto check = [&](const char* name, range part, index all, const char* pixels_name,
                           index pixels) {
      if (part.begin < 0 || part.end > all || part.empty())
        detail::raise_argument(where, name, double(part.begin < 0 ? part.begin : part.end),
                               detail::formatted("it lies between 0 and %td", all).text);
      if (pixels < 1 || pixels > part.count())
        detail::raise_argument(
            where, pixels_name, double(pixels),
            detail::formatted("it lies between 1 and %td, the rows to be drawn", part.count())
                .text);
    };
    check("an end of queries", queries, q.rows(), "rows", rows);
    check("an end of keys", keys, k.rows(), "cols", cols);
    return detail::with_weights_of(
        {.block = queries}, where, q, k,
        [&](const auto& stream) {
          std::vector<matrix> all(std::size_t(stream.heads()));
          for (matrix& P : all) P.setZero(rows, cols);
          detail::run_tasks(stream.exec(), rows * stream.heads(), [&](index task, index worker) {
            const index head = task / rows, r = task % rows;
            const auto part = [](range whole, index at, index count) {
              return range{whole.begin + whole.count() * at / count,
                           whole.begin + whole.count() * (at + 1) / count};
            };
            std::vector<T> sums(std::size_t(keys.count()), T(0));
            detail::sums_of_keys<T> take{stream.kernels().add_sums, sums.data()};
            const range of_row = part(queries, r, rows);
            stream.walk(head, of_row, keys, detail::request_of<T>(take), worker);
            for (index c = 0; c < cols; ++c) {
              const range of_pixel = part({0, keys.count()}, c, cols);
              double sum = 0;
              for (index j = of_pixel.begin; j < of_pixel.end; ++j)
                sum += double(sums[std::size_t(j)]);
              all[std::size_t(head)](r, c) =
                  T(sum / double(of_row.count()) / double(of_pixel.count()));
            }
          });
          return detail::one_or_all<matrix, Ps...>(std::move(all));
        },
        policies...);
  }
}
template <dense_expression Q, row_expression K, class... Ps>
[[nodiscard]] auto weight_pixels(const Q& q, const K& k, index rows, index cols,
                                 const Ps&... policies) {
  return weight_pixels(q, k, rows, cols, range{0, q.rows()}, range{0, k.rows()}, policies...);
}

/// \}

SOFTLOOK_NAMESPACE_END
