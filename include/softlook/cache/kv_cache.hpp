#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "softlook/cache/detail/stored_row.hpp"
#include "softlook/engine/call/bound_call.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup cache Caches and storage
/// Keys and values that stay from call to call: growing, in a ring, in pages that sequences share;
/// in float, double, 16 or 8 bits.
/// \cases tests/conformance/data/onnx_attention/attention
/// \program examples/caches.cpp
/// \{

/// The rows of a kv_cache: `heads` of keys beside each other, and as many of values.
struct kv_cache_shape {
  index heads = 1;           ///< of keys and values
  index key_features = 0;    ///< of a head
  index value_features = 0;  ///< of a head
};

struct kv_cache_options {
  index page_rows = 128;          ///< a power of two
  std::optional<index> window{};  ///< a ring: at least so many rows stay, older pages are reused
};

namespace detail {

/// One side of a cache, keys or values: pages, each shared by the caches that hold its rows.
template <class T, class Stored>
class cache_pages {
  struct page {
    page(index rows, index cols, index heads)
        : numbers(std::size_t(rows * cols)), scales(std::size_t(rows * heads)) {}
    std::vector<Stored> numbers;
    std::vector<float> scales;
  };
  using page_ptr = std::shared_ptr<page>;
  static constexpr bool scaled = std::is_same_v<Stored, std::int8_t>;

 public:
  cache_pages(index cols, index heads, index page_rows)
      : cols_(cols), heads_(heads), page_rows_(page_rows) {
    table_ = {nullptr,
              nullptr,
              exact_log2(page_rows),
              cols,
              scaled ? heads : 0,
              std::max<index>(cols / std::max<index>(heads, 1), 1)};
  }
  cache_pages(const cache_pages& other)
      : cols_(other.cols_),
        heads_(other.heads_),
        page_rows_(other.page_rows_),
        pages_(other.pages_),
        table_(other.table_) {
    list();
  }
  cache_pages& operator=(const cache_pages& other) { return *this = cache_pages(other); }
  cache_pages(cache_pages&&) noexcept = default;
  cache_pages& operator=(cache_pages&&) noexcept = default;

  [[nodiscard]] index cols() const { return cols_; }
  [[nodiscard]] index pages() const { return index(pages_.size()); }
  [[nodiscard]] std::size_t page_bytes() const {
    return std::size_t(page_rows_) * (std::size_t(cols_) * sizeof(Stored) +
                                      (scaled ? std::size_t(heads_) * sizeof(float) : 0));
  }
  [[nodiscard]] index shared_pages() const {
    return std::count_if(pages_.begin(), pages_.end(),
                         [](const page_ptr& p) { return p.use_count() > 1; });
  }

  /// Room behind the first `held` rows for `more`, in pages of this cache alone. What it holds
  /// stays, also where memory runs out.
  void make_room(index held, index more) {
    if (more == 0) return;
    const index wanted = ceil_div(held + more, page_rows_), last = held / page_rows_;
    while (pages() < wanted) {
      pages_.push_back(fresh());
      list();
    }
    if (last < pages() && held % page_rows_ != 0 && !owned(pages_[std::size_t(last)])) {
      page_ptr copy = fresh();
      const page& from = *pages_[std::size_t(last)];
      std::copy_n(from.numbers.data(), held % page_rows_ * cols_, copy->numbers.data());
      if constexpr (scaled)
        std::copy_n(from.scales.data(), held % page_rows_ * heads_, copy->scales.data());
      pages_[std::size_t(last)] = std::move(copy);
    }
    for (index p = ceil_div(held, page_rows_); p < wanted; ++p)
      if (!owned(pages_[std::size_t(p)])) pages_[std::size_t(p)] = fresh();
    list();
  }
  /// Row i of X becomes row `row`, for which there is room.
  void store(const matrix_view<T>& X, index i, index row) {
    page& to = *pages_[std::size_t(row / page_rows_)];
    const index within = row % page_rows_;
    store_row(X, i, heads_, to.numbers.data() + within * cols_,
              scaled ? to.scales.data() + within * heads_ : nullptr);
  }
  void reserve(index count) {
    pages_.reserve(std::size_t(count));
    spare_.reserve(std::size_t(count));
    numbers_.reserve(std::size_t(count));
    scales_.reserve(scaled ? std::size_t(count) : 0);
    while (pages() + index(spare_.size()) < count) spare_.push_back(fresh_page());
  }
  void drop_first(index count) {
    const auto end = pages_.begin() + count;
    for (auto p = pages_.begin(); p != end; ++p)
      if (owned(*p)) spare_.push_back(std::move(*p));
    pages_.erase(pages_.begin(), end);
    list();
  }
  void keep_first(index count) {
    while (pages() > count) {
      if (owned(pages_.back())) spare_.push_back(std::move(pages_.back()));
      pages_.pop_back();
    }
    list();
  }

  [[nodiscard]] row_source<T> source(index rows, instruction_set isa) const {
    row_source<T> source{&paged_rows_of<T, Stored>(isa), &table_, rows, cols_};
    if constexpr (scaled) source.scale_columns = table_.head_columns;
    return source;
  }

 private:
  /// Whether no other cache holds it; then what others did with it happened before.
  [[nodiscard]] static bool owned(const page_ptr& p) {
    const bool alone = p.use_count() == 1;
    if (alone) std::atomic_thread_fence(std::memory_order_acquire);
    return alone;
  }
  [[nodiscard]] page_ptr fresh_page() const {
    return std::make_shared<page>(page_rows_, cols_, scaled ? heads_ : 0);
  }
  [[nodiscard]] page_ptr fresh() {
    if (spare_.empty()) return fresh_page();
    page_ptr p = std::move(spare_.back());
    spare_.pop_back();
    return p;
  }
  void list() {
    numbers_.resize(pages_.size());
    scales_.resize(scaled ? pages_.size() : 0);
    for (std::size_t p = 0; p < pages_.size(); ++p) {
      numbers_[p] = pages_[p]->numbers.data();
      if constexpr (scaled) scales_[p] = pages_[p]->scales.data();
    }
    table_.pages = numbers_.data();
    table_.scales = scales_.data();
  }

  index cols_;
  index heads_;
  index page_rows_;
  std::vector<page_ptr> pages_;
  std::vector<page_ptr> spare_;
  std::vector<const void*> numbers_;
  std::vector<const float*> scales_;
  row_pages table_{};
};

}  // namespace detail

/// The keys or the values that a kv_cache holds, as K or V of a call. It looks at the cache, which
/// must not change meanwhile.
template <class T, class Stored>
class cached_rows {
 public:
  using stored_rows_tag = void;
  using Scalar = T;
  cached_rows(const detail::cache_pages<T, Stored>& pages, index rows)
      : pages_(&pages), rows_(rows) {}
  [[nodiscard]] index rows() const { return rows_; }
  [[nodiscard]] index cols() const { return pages_->cols(); }
  /// For the kernels.
  [[nodiscard]] detail::row_source<T> source(instruction_set isa) const {
    return pages_->source(rows_, isa);
  }

 private:
  const detail::cache_pages<T, Stored>* pages_;
  index rows_;
};

/// Keys and values of one sequence, appended row by row and attended by the queries that come
/// after:
///   attend(q) = softmax(scale · q Kᵀ) V  over all rows that are held.
/// Rows lie in pages. A fork shares the pages of its origin, and a page is copied when one of them
/// writes into it: so prefixes and the hypotheses of a beam search are kept once.
///
///     kv_cache<float, Eigen::bfloat16> cache({.heads = 2, .key_features = 64, .value_features =
///     64}); cache.append(K_rows, V_rows);                                // n×(2·64) each O =
///     cache.attend(q, heads{.query = 8, .kv = 2}, masks::causal_bottom_right{}); auto hypothesis =
///     cache.fork();
///
/// T is the scalar of the arithmetic; stored are T, or with T = float Eigen::half, Eigen::bfloat16
/// or std::int8_t with a scale for each row and head (see int8_rows). With options.window the cache
/// is a ring: pages whose rows are all older than that are reused. Positions are those of the whole
/// sequence also then: use a mask that forbids what may be gone, masks::window_of(w) with w ≤
/// window.
///
/// \see Kwon et al., "PagedAttention", 2023; Xiao et al., "StreamingLLM", 2024 (a ring).
/// A cache may be read by several threads; forks may be used in a thread each.
/// Cost: append copies its rows; a warm append that reuses pages allocates nothing. Memory:
/// bytes(), no more than one page beyond the rows of each side.
template <class T, class Stored = T>
class kv_cache {
 public:
  using rows = cached_rows<T, Stored>;
  static_assert(real_scalar<T>, "softlook: the arithmetic is in float or double");
  static_assert(detail::can_be_stored<T, Stored>,
                "softlook: a cache of T stores T, or of float half, bfloat16 or int8");

  /// \throws argument_error  without heads, for negative features, a page that is no power of two,
  /// or
  ///         a window below 1.
  explicit kv_cache(const kv_cache_shape& shape, const kv_cache_options& options = {})
      : shape_(checked(shape, options)),
        options_(options),
        keys_(shape.heads * shape.key_features, shape.heads, options.page_rows),
        values_(shape.heads * shape.value_features, shape.heads, options.page_rows) {}

  /// Rows of the sequence so far, of which those from first() on are held.
  [[nodiscard]] index size() const { return size_; }
  [[nodiscard]] index first() const { return first_; }
  [[nodiscard]] const kv_cache_shape& shape() const { return shape_; }
  [[nodiscard]] const kv_cache_options& options() const { return options_; }
  /// Bytes of the pages that it holds, and how many of them other caches hold too.
  [[nodiscard]] std::size_t bytes() const {
    return std::size_t(keys_.pages()) * keys_.page_bytes() +
           std::size_t(values_.pages()) * values_.page_bytes();
  }
  [[nodiscard]] index pages() const { return keys_.pages() + values_.pages(); }
  [[nodiscard]] index shared_pages() const { return keys_.shared_pages() + values_.shared_pages(); }

  /// Appends rows of keys, n×(heads·key_features), and of values.
  /// \throws shape_error unless they fit; argument_error for what 8 bits cannot hold. The cache is
  ///         then as it was.
  template <dense_expression K, dense_expression V>
  void append(const K& k, const V& v) {
    static_assert(
        std::is_same_v<detail::scalar_of<K>, T> && std::is_same_v<detail::scalar_of<V>, T>,
        "softlook: a cache of T takes rows of T");
    const detail::readable<K> keys(k);
    const detail::readable<V> values(v);
    append_views(keys.view(), values.view());
  }
  /// Pages for so many rows in all: appending up to them allocates nothing, unless it writes into a
  /// page that a fork shares.
  void reserve(index count) {
    const index pages = detail::ceil_div(std::max<index>(count - first_, 0), options_.page_rows);
    keys_.reserve(pages);
    values_.reserve(pages);
  }
  /// Forgets all rows from `size` on.
  /// \throws argument_error  unless first() ≤ size ≤ size().
  void truncate(index size) {
    if (size < first_ || size > size_)
      detail::raise_argument("kv_cache::truncate", "size", double(size),
                             detail::formatted("rows %td to %td are held", first_, size_).text);
    size_ = size;
    const index pages = detail::ceil_div(size_ - first_, options_.page_rows);
    keys_.keep_first(pages);
    values_.keep_first(pages);
  }
  /// Another sequence with the same past: no row is copied.
  [[nodiscard]] kv_cache fork() const { return *this; }

  /// The rows that are held, [first(), size()).
  [[nodiscard]] rows keys() const { return {keys_, size_ - first_}; }
  [[nodiscard]] rows values() const { return {values_, size_ - first_}; }

  /// Where n queries that are the last of the sequence stand in it, and the rows that are held.
  [[nodiscard]] frame frame_of(index queries) const {
    return {.first_query = std::max<index>(size_ - queries, 0),
            .queries = std::max(size_, queries),
            .first_key = first_,
            .keys = size_,
            .query_positions = {}};
  }

  /// What the last q.rows() positions attend to: n×(query heads · key_features) -> n×(query heads ·
  /// value_features). Query heads are as many as the columns of q hold, a multiple of those of the
  /// cache.
  /// \param policies  transforms, a mask, an executor, options; see attention().
  /// \throws shape_error  unless the columns fit.
  template <dense_expression Q, class... Ps>
  [[nodiscard]] auto attend(const Q& q, const Ps&... policies) const {
    if constexpr (check<Q, Ps...>())
      return detail::bind("kv_cache::attend", q, keys(), values(), heads_of(q.cols()),
                          frame_of(q.rows()), policies...)
          .output();
  }
  /// The same into the caller's matrix.
  template <dense_expression Q, dense_expression O, class... Ps>
  void attend_into(const Q& q, O&& o, const Ps&... policies) const {
    if constexpr (check<Q, Ps...>()) {
      const rows K = keys(), V = values();
      detail::bind("kv_cache::attend_into", q, K, V, heads_of(q.cols()), frame_of(q.rows()),
                   policies...)
          .run(o);
    }
  }

 private:
  template <class Q, class... Ps>
  static constexpr bool check() {
    constexpr bool placed =
        !((detail::is_heads<Ps> || detail::is_frame<Ps> || detail::is_sequences<Ps>) || ...);
    static_assert(placed, "softlook: a cache knows its heads and where its rows stand");
    if constexpr (placed && detail::check_stored_scalars<Q, rows>())
      return detail::check_policies<T, Ps...>();
    else
      return false;
  }
  [[nodiscard]] heads heads_of(index columns) const {
    const index features = std::max<index>(shape_.key_features, 1);
    if (columns % features != 0 || columns / features < 1)
      detail::raise_sizes("kv_cache::attend", "Q.cols()", columns, "key_features",
                          shape_.key_features, "a row holds whole query heads");
    return {.query = columns / features, .kv = shape_.heads};
  }

  static kv_cache_shape checked(const kv_cache_shape& s, const kv_cache_options& o) {
    constexpr const char* where = "kv_cache";
    if (s.heads < 1) detail::raise_argument(where, "heads", double(s.heads), "there is at least 1");
    if (s.key_features < 1)
      detail::raise_argument(where, "key_features", double(s.key_features), "there is at least 1");
    if (s.value_features < 0)
      detail::raise_argument(where, "value_features", double(s.value_features),
                             "it is not negative");
    detail::check_page_rows(where, o.page_rows);
    if (o.window && *o.window < 1)
      detail::raise_argument(where, "window", double(*o.window), "at least the last row stays");
    return s;
  }

  void append_views(const matrix_view<T>& K, const matrix_view<T>& V) {
    constexpr const char* where = "kv_cache::append";
    detail::check_sizes(where, "K.cols()", K.cols, "heads · key_features", keys_.cols(),
                        "a row holds the keys of all heads");
    detail::check_sizes(where, "V.cols()", V.cols, "heads · value_features", values_.cols(),
                        "a row holds the values of all heads");
    detail::check_sizes(where, "V.rows()", V.rows, "K.rows()", K.rows, "each key has one value");
    detail::check_positions(where, "size()", size_ + K.rows);
    if constexpr (std::is_same_v<Stored, std::int8_t>) {
      detail::check_finite(where, "K", K);
      detail::check_finite(where, "V", V);
    }
    const index held = size_ - first_;
    keys_.make_room(held, K.rows);
    values_.make_room(held, K.rows);
    for (index i = 0; i < K.rows; ++i) {
      keys_.store(K, i, held + i);
      values_.store(V, i, held + i);
    }
    size_ += K.rows;
    if (!options_.window) return;
    const index old = std::max<index>(size_ - *options_.window - first_, 0) / options_.page_rows;
    keys_.drop_first(old);
    values_.drop_first(old);
    first_ += old * options_.page_rows;
  }

  kv_cache_shape shape_;
  kv_cache_options options_;
  detail::cache_pages<T, Stored> keys_;
  detail::cache_pages<T, Stored> values_;
  index size_ = 0;
  index first_ = 0;
};

/// \}

SOFTLOOK_NAMESPACE_END
