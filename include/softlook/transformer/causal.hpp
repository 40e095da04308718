#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "softlook/layer/rms_norm.hpp"
#include "softlook/mask/causal.hpp"
#include "softlook/mask/combine.hpp"
#include "softlook/transformer/detail/key_store.hpp"
#include "softlook/transformer/encoder.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup transformer
/// \{

/// The norm at the end of a stack: a layer_norm or an rms_norm, which convert to it.
template <class T>
class final_norm {
 public:
  final_norm(const layer_norm<T>& norm) : rows_(norm.rows()) {}  // NOLINT(google-explicit-*)
  final_norm(const rms_norm<T>& norm) : rows_(norm.rows()) {}    // NOLINT(google-explicit-*)
  [[nodiscard]] index features() const { return rows_.features(); }
  [[nodiscard]] const detail::row_norm<T>& rows() const { return rows_; }

 private:
  detail::row_norm<T> rows_;
};

/// What a causal_transformer keeps of the rows it has seen: the projected keys and values of every
/// layer, in a kv_cache each. Made by start(); a copy is a second text that begins like the first:
/// it shares the pages, and copies a page when one of them goes on.
template <class T>
class causal_transformer_cache {
 public:
  [[nodiscard]] index rows() const { return rows_; }

  /// Room for so many rows; steps that stay within it allocate nothing.
  void reserve(index rows) {
    for (detail::key_store<T>& l : layers_) l.reserve(rows);
  }
  /// Forgets all rows from this one on.
  /// \throws argument_error  unless 0 ≤ rows ≤ rows().
  void truncate(index rows) {
    if (rows < 0 || rows > rows_)
      detail::raise_argument("causal_transformer_cache", "rows", double(rows),
                             "it must lie between 0 and rows(), " + std::to_string(rows_));
    rows_ = rows;
  }
  /// Bytes of the keys and values that it holds.
  [[nodiscard]] std::size_t bytes() const {
    std::size_t all = 0;
    for (const detail::key_store<T>& l : layers_) all += l.cache().bytes();
    return all;
  }

 private:
  template <class>
  friend class causal_transformer;
  std::vector<detail::key_store<T>> layers_;
  index rows_ = 0;
};

/// A Transformer without an encoder, as language models are: a stack of layers in which every row
/// attends to itself and to the rows before it, with a norm at the end where one is given:
///   y = norm(layer_L(… layer_1(x))),  row i of a layer sees rows j ≤ i
///
/// \see Liu et al., "Generating Wikipedia by Summarizing Long Sequences", 2018, section 4.2.3 (the
///      decoder alone); Radford et al., 2018 (GPT); Touvron et al., "LLaMA", 2023, section 2.2 (RMS
///      norms, a SwiGLU feed-forward and rotary positions, which its layers take too).
/// Rows come step by step, one or several at a time, on top of those that the cache has seen:
///
///     causal_transformer_cache<float> seen = model.start();
///     Y = model.step(X, seen);                         // the prompt: n×features -> n×features
///     y = model.step(x, seen);                         // the next row
///
/// All steps together give the rows of one step: within rounding, and bit for bit where
/// options{.kernel} pins the tiled kernel and no transform changes the scores.
/// Cost of a step of r rows after n: O(r·(n + r)) for each attention. Memory: the cache.
template <class T>
class causal_transformer : public detail::layer_defaults<causal_transformer<T>, T> {
 public:
  using cache = causal_transformer_cache<T>;

  /// \throws argument_error without layers; shape_error unless all have the same features.
  explicit causal_transformer(std::vector<transformer_encoder_layer<T>> layers,
                              std::optional<final_norm<T>> norm = {})
      : stack_(name_, std::move(layers), std::move(norm)) {}

  [[nodiscard]] index features() const { return stack_.features(); }
  [[nodiscard]] const std::vector<transformer_encoder_layer<T>>& layers() const {
    return stack_.layers();
  }
  /// What a step reads of packed weights.
  [[nodiscard]] std::size_t weight_bytes() const {
    std::size_t all = 0;
    for (const layer& l : layers()) all += l.weight_bytes();
    return all;
  }

  /// A cache that has seen no row.
  [[nodiscard]] cache start() const {
    cache made;
    for (const layer& l : layers()) made.layers_.emplace_back(l.attention_);
    return made;
  }

  /// The next rows of Y, for the next rows of X.
  /// \param policies  a mask, transforms, an executor, options, about the text so far: query i is
  ///        its row i. The mask is combined with the causal one.
  /// \throws shape_error  unless X.cols() is features() and the cache was made by such a stack.
  template <dense_expression X, class... Ps>
  [[nodiscard]] auto step(const X& x, cache& seen, const Ps&... policies) const {
    plain_matrix_like<X> y(x.rows(), x.cols());
    step_into(x, seen, y, policies...);
    return y;
  }
  /// step() into the caller's matrix, which may be X itself. With options{.workspace} and enough
  /// rows reserved in the cache it allocates nothing.
  template <dense_expression X, dense_expression Y, class... Ps>
  void step_into(const X& x, cache& seen, Y&& y, const Ps&... policies) const {
    if constexpr (accepts<Ps...>(detail::matrices<X, Y>{})) {
      const detail::readable<X> in(x);
      const mutable_matrix_view<T> out = detail::writable_view(y);
      check(in.view());
      detail::layer_entry::check_rows(*this, in.view(), out);
      check_cache(seen);
      run_stack(
          in.view(), out, seen,
          [](auto& chain, const layer& l, std::size_t, const auto& from, const auto& to,
             const auto& scratch, const auto& call,
             const auto& earlier) { l.run(chain, from, to, scratch, call, earlier); },
          policies...);
      seen.rows_ += x.rows();
    }
  }

  /// What the next rows look at, n×(seen.rows() + n) for each layer and head. The given cache stays
  /// as it is. Cost: a step, and the memory of these matrices.
  template <dense_expression X, class... Ps>
  [[nodiscard]] auto attention_weights(const X& x, cache seen, const Ps&... policies) const {
    std::vector<std::vector<plain_matrix_like<X>>> weights(layers().size());
    if constexpr (accepts<Ps...>(detail::matrices<X>{})) {
      const detail::readable<X> in(x);
      check(in.view());
      check_cache(seen);
      detail::row_major<T> out(x.rows(), features());
      run_stack(
          in.view(), detail::writable_view(out), seen,
          [&](auto& chain, const layer& l, std::size_t number, const auto& from, const auto& to,
              const auto& scratch, const auto& call, const auto& earlier) {
            l.add_weights(chain, from, scratch, call, earlier, weights[number]);
            l.run(chain, from, to, scratch, call, earlier);
          },
          policies...);
    }
    return weights;
  }

 private:
  friend detail::layer_entry;
  using layer = transformer_encoder_layer<T>;
  using policy_rule = detail::multi_head_policies;
  static constexpr const char* name_ = "causal_transformer";
  static constexpr const char* columns_name_ = "features()";

  template <class... Ps, class Matrices>
  static constexpr bool accepts(const Matrices& matrices) {
    constexpr bool one = !((detail::is_sequences<Ps> || detail::is_frame<Ps>) || ...);
    static_assert(one, "softlook: a cache holds one sequence and knows where its rows stand");
    if constexpr (one)
      return detail::layer_entry::accepts<causal_transformer, Ps...>(matrices);
    else
      return false;
  }

  void check(const matrix_view<T>& X) const { detail::check_features(name_, *this, X); }
  void check_cache(const cache& seen) const {
    detail::check_sizes(name_, "the number of the cache's layers", index(seen.layers_.size()),
                        "layers().size()", index(layers().size()),
                        "a cache serves the stack that made it");
    for (std::size_t k = 0; k < layers().size(); ++k)
      if (!seen.layers_[k].fits(layers()[k].attention_))
        detail::raise<shape_error>(detail::formatted("%s: the cache has keys of other sizes than "
                                                     "the layers (a cache serves the stack that "
                                                     "made it)",
                                                     name_)
                                       .text);
  }

  /// f(chain, layer, number, from, to, scratch, call, earlier rows) runs one layer on rows that
  /// follow those of the cache.
  template <class F, class... Ps>
  void run_stack(const matrix_view<T>& X, const mutable_matrix_view<T>& Y, cache& seen, const F& f,
                 const Ps&... ps) const {
    const auto run_all = [&](const detail::call_policies<T>& call,
                             const detail::scratch_space<T>& scratch) {
      detail::with_row_chain(call, layers().front().first_.norm(), X.rows, scratch,
                             [&](auto& chain, const auto& left) {
                               stack_.run(chain, X, Y, left,
                                          [&](const layer& l, std::size_t k, const auto& from,
                                              const auto& to, const auto& of_layer) {
                                            const auto kept = seen.layers_[k].keys(seen.rows_);
                                            const detail::earlier_rows<T> earlier{&kept,
                                                                                  seen.rows_};
                                            f(chain, l, k, from, to, of_layer, call, earlier);
                                          });
                             });
    };
    const auto size = [&](const detail::call_policies<T>& call) {
      return stack_.scratch_size(X.rows, [&](const layer& l) { return l.scratch_size(X, call); });
    };
    detail::with_mask(
        masks::causal_top_left{},
        [&](const auto&... with) {
          policy_rule::template resolve<T>(
              name_,
              [&](const detail::call_policies<T>& call) {
                detail::run_layer<T>(
                    call, size(call),
                    [&](const detail::scratch_space<T>& scratch) { run_all(call, scratch); });
              },
              with...);
        },
        ps...);
  }

  detail::layer_stack<layer, final_norm<T>> stack_;
};

/// \}

SOFTLOOK_NAMESPACE_END
