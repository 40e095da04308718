#pragma once

#include <optional>
#include <string>
#include <vector>

#include "softlook/layer/detail/layer_stack.hpp"
#include "softlook/mask/causal.hpp"
#include "softlook/mask/combine.hpp"
#include "softlook/transformer/decoder_layer.hpp"
#include "softlook/transformer/detail/key_store.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup transformer
/// \{

/// What a decoder keeps of the rows it has seen: the projected keys and values of every layer, of
/// the target and of the memory, in a kv_cache each. Made by transformer_decoder::start(); a copy
/// is a second sentence that begins like the first: it shares the pages of both. When one of them
/// goes on it copies the page of the target that it writes into, if it is not full, and nothing of
/// the memory. So the state of a beam search is a cache for each sentence:
///
///     void select(std::span<const index> rows) {           // of a search_state
///       std::vector<transformer_decoder_cache<float>> kept;
///       for (const index row : rows) kept.push_back(caches[std::size_t(row)]);
///       caches = std::move(kept);
///     }
template <class T>
class transformer_decoder_cache {
 public:
  [[nodiscard]] index rows() const { return rows_; }
  [[nodiscard]] index memory_rows() const { return memory_rows_; }
  /// Pages of keys and of values, and how many of them other caches hold too; bytes of all.
  [[nodiscard]] index pages() const {
    return sum([](const kv_cache<T>& c) { return c.pages(); });
  }
  [[nodiscard]] index shared_pages() const {
    return sum([](const kv_cache<T>& c) { return c.shared_pages(); });
  }
  [[nodiscard]] std::size_t bytes() const {
    return std::size_t(sum([](const kv_cache<T>& c) { return index(c.bytes()); }));
  }

  /// Room for so many rows; steps that stay within it allocate nothing, unless they write into a
  /// page that a copy shares.
  void reserve(index rows) {
    for (kept_layer& l : layers_) l.target.reserve(rows);
  }
  /// Forgets all rows from this one on.
  /// \throws argument_error  unless 0 ≤ rows ≤ rows().
  void truncate(index rows) {
    if (rows < 0 || rows > rows_)
      detail::raise_argument("transformer_decoder_cache", "rows", double(rows),
                             "it must lie between 0 and rows(), " + std::to_string(rows_));
    rows_ = rows;
  }

 private:
  template <class>
  friend class transformer_decoder;
  struct kept_layer {
    detail::key_store<T> target;
    detail::key_store<T> memory;
  };
  template <class F>
  [[nodiscard]] index sum(const F& of_cache) const {
    index all = 0;
    for (const kept_layer& l : layers_)
      all += of_cache(l.target.cache()) + of_cache(l.memory.cache());
    return all;
  }
  std::vector<kept_layer> layers_;
  index rows_ = 0;
  index memory_rows_ = 0;
};

/// A stack of decoder layers, with a norm at the end where one is given (pre-norm stacks need it).
///
/// \see Vaswani et al., 2017, section 3.1.
/// Computes what torch.nn.TransformerDecoder does.
///
/// X: n×features, memory: m×memory features -> n×features. Policies as for a layer; all layers get
/// the same ones.
///
/// Row by row: start() projects the memory once for all layers, step() computes new rows on top of
/// those that its cache has seen, one or several at a time. The target is causal then. All steps
/// together give the rows of the whole call under for_target(masks::causal_top_left{}): within
/// rounding, and bit for bit where options{.kernel} pins the tiled kernel and no transform changes
/// the scores. Cost of a step of r rows after n: O(r·(n + m)) for each attention instead of O(n²).
template <class T>
class transformer_decoder : public memory_layer<transformer_decoder<T>, T> {
 public:
  /// \throws argument_error without layers; shape_error unless all have the same features, and the
  ///         same features of the memory.
  explicit transformer_decoder(std::vector<transformer_decoder_layer<T>> layers,
                               std::optional<layer_norm<T>> final_norm = {})
      : stack_(name_, std::move(layers), std::move(final_norm)) {
    for (const layer& l : stack_.layers())
      detail::check_sizes(name_, "layer.memory_features()", l.memory_features(),
                          "memory_features()", memory_features(), "all layers see one memory");
  }

  [[nodiscard]] index features() const { return stack_.features(); }
  [[nodiscard]] index memory_features() const { return layers().front().memory_features(); }
  [[nodiscard]] const std::vector<transformer_decoder_layer<T>>& layers() const {
    return stack_.layers();
  }
  [[nodiscard]] const std::optional<layer_norm<T>>& final_norm() const {
    return stack_.final_norm();
  }

  /// A cache for a sentence that looks at this memory. \param policies  an executor, options.
  /// \throws shape_error  unless memory.cols() is memory_features().
  template <dense_expression M, class... Ps>
  [[nodiscard]] transformer_decoder_cache<T> start(const M& memory, const Ps&... policies) const {
    transformer_decoder_cache<T> cache;
    if constexpr (detail::check_layer_scalars<T, M>() && detail::check_layer_policies<T, Ps...>()) {
      const detail::readable<M> seen(memory);
      detail::check_memory(name_, *this, memory.cols());
      const detail::layer_call call = detail::layer_call_of(name_, policies...);
      cache.memory_rows_ = memory.rows();
      for (const layer& l : layers()) {
        cache.layers_.push_back(
            {detail::key_store<T>(l.self_.block), detail::key_store<T>(l.cross_.block)});
        l.cross_.block.project(call, seen.view(), cache.layers_.back().memory.keys(0));
      }
    }
    return cache;
  }

  /// The next rows of Y, for the next rows of X.
  /// \param policies  as for a layer, and about the sentence so far: query i is its row i, and a
  ///        matrix has a row for each. The mask for_target is combined with the causal one.
  /// \throws shape_error  unless X.cols() is features() and the cache was made by such a decoder.
  template <dense_expression X, class... Ps>
  [[nodiscard]] auto step(const X& x, transformer_decoder_cache<T>& cache,
                          const Ps&... policies) const {
    plain_matrix_like<X> y(x.rows(), x.cols());
    step_into(x, cache, y, policies...);
    return y;
  }
  /// step() into the caller's matrix, which may be X itself. With options{.workspace} and enough
  /// rows reserved in the cache it allocates nothing.
  template <dense_expression X, dense_expression Y, class... Ps>
  void step_into(const X& x, transformer_decoder_cache<T>& cache, Y&& y,
                 const Ps&... policies) const {
    if constexpr (detail::layer_entry::accepts<transformer_decoder, Ps...>(
                      detail::matrices<X, Y>{})) {
      static_assert(!(detail::places_sequences<Ps> || ...),
                    "softlook: a cache holds one sequence: give each its own");
      const detail::readable<X> in(x);
      const mutable_matrix_view<T> out = detail::writable_view(y);
      const detail::decoder_rows<T> rows{in.view(),
                                         {nullptr, 0, memory_features(), memory_features(), 1}};
      check(rows);
      check_output(rows, out);
      check_cache(cache);
      detail::with_decoder_calls<T>(
          name_, causal_target(policies...),
          detail::policies_for<detail::memory_attention>(policies...),
          [&](const detail::decoder_calls<T>& calls) { run_step(rows, out, cache, calls); },
          policies...);
      cache.rows_ += x.rows();
    }
  }

 private:
  friend detail::layer_entry;
  template <class>
  friend class transformer;
  using layer = transformer_decoder_layer<T>;
  using policy_rule = detail::decoder_policies;
  static constexpr const char* name_ = "transformer_decoder";

  [[nodiscard]] static detail::decoder_rows<T> input_of(const matrix_view<T>& X,
                                                        const matrix_view<T>& memory) {
    return {X, memory};
  }
  void check(const detail::decoder_rows<T>& in) const {
    detail::check_decoder_inputs(name_, *this, in);
  }
  void check_output(const detail::decoder_rows<T>& in, const mutable_matrix_view<T>& Y) const {
    detail::check_decoder_output(name_, *this, in, Y);
  }

  void check_cache(const transformer_decoder_cache<T>& cache) const {
    detail::check_sizes(name_, "the number of the cache's layers", index(cache.layers_.size()),
                        "layers().size()", index(layers().size()),
                        "a cache serves the decoder that made it");
    for (std::size_t k = 0; k < layers().size(); ++k)
      if (!cache.layers_[k].target.fits(layers()[k].self_.block) ||
          !cache.layers_[k].memory.fits(layers()[k].cross_.block))
        detail::raise<shape_error>(detail::formatted("%s: the cache has keys of other sizes than "
                                                     "the layers (a cache serves the decoder that "
                                                     "made it)",
                                                     name_)
                                       .text);
  }

  /// Masks and transforms of the target, which is causal where it grows row by row.
  template <class... Ps>
  [[nodiscard]] static auto causal_target(const Ps&... ps) {
    return std::apply(
        [](const auto&... own) {
          return detail::with_mask(
              masks::causal_top_left{},
              [](const auto&... with) { return std::make_tuple(with...); }, own...);
        },
        detail::policies_for<detail::target_attention>(ps...));
  }

  [[nodiscard]] index scratch_size(const detail::decoder_rows<T>& in,
                                   const detail::decoder_calls<T>& calls) const {
    return stack_.scratch_size(in.X.rows,
                               [&](const layer& l) { return l.scratch_size(in, calls); });
  }
  void run(const detail::decoder_rows<T>& in, const mutable_matrix_view<T>& Y,
           const detail::scratch_space<T>& scratch, const detail::decoder_calls<T>& calls) const {
    run_stack(in, Y, scratch, calls,
              [&](auto& chain, const layer& l, std::size_t, const auto& from, const auto& to,
                  const auto& of_layer) { l.run(chain, {from, in.memory}, to, of_layer, calls); });
  }
  /// f(chain, layer, number, from, to, scratch) runs one layer.
  template <class F>
  void run_stack(const detail::decoder_rows<T>& in, const mutable_matrix_view<T>& Y,
                 const detail::scratch_space<T>& scratch, const detail::decoder_calls<T>& calls,
                 const F& f) const {
    detail::with_row_chain(calls, layers().front().last_.norm(), in.X.rows, scratch,
                           [&](auto& chain, const auto& left) {
                             stack_.run(chain, in.X, Y, left,
                                        [&](const auto&... of_layer) { f(chain, of_layer...); });
                           });
  }
  /// The rows that follow those of the cache; the memory is in it.
  void run_step(const detail::decoder_rows<T>& in, const mutable_matrix_view<T>& Y,
                transformer_decoder_cache<T>& cache, const detail::decoder_calls<T>& calls) const {
    const auto run_one = [&](auto& chain, const layer& l, std::size_t k, const auto& from,
                             const auto& to, const auto& of_layer) {
      const auto target = cache.layers_[k].target.keys(cache.rows_);
      const auto kept = cache.layers_[k].memory.keys(cache.memory_rows_);
      l.run(chain, {from, in.memory, &target, &kept, cache.rows_}, to, of_layer, calls);
    };
    detail::run_layer<T>(calls, scratch_size(in, calls),
                         [&](const detail::scratch_space<T>& scratch) {
                           run_stack(in, Y, scratch, calls, run_one);
                         });
  }

  detail::layer_stack<layer> stack_;
};

/// \}

SOFTLOOK_NAMESPACE_END
