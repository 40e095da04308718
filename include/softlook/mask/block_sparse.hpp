#pragma once

#include <bit>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"
#include "softlook/mask/detail/band.hpp"
#include "softlook/mask/detail/bits.hpp"
#include "softlook/mask/detail/divider.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace masks {

/// \addtogroup sparse_masks
/// \{

/// Blocks of `block` queries × `block` keys that a layout switches on: pair (i, j) is allowed where
///   layout(⌊i / block⌋, ⌊j / block⌋) = true.
/// One layout for all heads, or one for each.
///
/// \see Child et al., 2019, section 5.5 (block-sparse kernels); Zaheer et al., 2020, appendix D.
/// The layout is copied, 1 bit for each block; copies of the mask share it. It must have a row for
/// each block of queries and a column for each block of keys, and may have more. Tiles of 48
/// queries × 96 keys (AVX-512, float) without a live block cost nothing, and in other tiles only
/// keys that some query may see are computed, 8 at a time. Blocks of 96 waste nothing.
class block_sparse {
 public:
  using policy_kind = mask_kind;

  /// \throws argument_error for a block below 1.
  template <dense_expression M>
  block_sparse(const M& layout, index block)
      : block_sparse(layout.rows(), layout.cols(), 1, block) {
    add(layout, 0);
  }
  /// A layout for each query head.
  /// \throws shape_error unless all layouts have one shape; argument_error without a layout.
  template <dense_expression M>
  block_sparse(const std::vector<M>& layouts, index block)
      : block_sparse(layouts.empty() ? 0 : layouts.front().rows(),
                     layouts.empty() ? 0 : layouts.front().cols(), index(layouts.size()), block) {
    if (layouts.empty())
      softlook::detail::raise_argument("masks::block_sparse", "layouts.size()", 0,
                                       "there is one for all heads, or one for each");
    for (std::size_t head = 0; head < layouts.size(); ++head) add(layouts[head], index(head));
  }

  [[nodiscard]] index block() const { return block_; }
  [[nodiscard]] index rows() const { return rows_; }
  [[nodiscard]] index cols() const { return form_.cols; }
  [[nodiscard]] index layouts() const { return layouts_; }
  /// Whether a block of a head's layout is on.
  [[nodiscard]] bool is_on(index row, index col, index head = 0) const {
    return softlook::detail::bit_at(form_.row(std::int32_t(layouts_ == 1 ? 0 : head), row),
                                    std::int32_t(col));
  }
  /// Blocks that are on, divided by all blocks.
  [[nodiscard]] double density() const {
    double on = 0;
    for (const std::uint32_t word : *owner_) on += std::popcount(word);
    const double all = double(layouts_) * double(rows_) * double(form_.cols);
    return all > 0 ? on / all : 0;
  }

  [[nodiscard]] bool allows(std::int32_t i, std::int32_t j, problem p) const {
    return form_.allows(i, j, p);
  }
  [[nodiscard]] range key_range(range q, problem p) const { return form_.key_range(q, p); }
  [[nodiscard]] coverage coverage_of(range q, range k, problem p) const {
    return form_.coverage_of(q, k, p);
  }
  /// \throws shape_error unless the layouts cover the problem, and there is one of them or one for
  /// each head.
  void check(const char* where, problem p) const;

  struct lookup_type {
    using policy_kind = mask_kind;
    softlook::detail::divider block_of;
    std::int32_t block;
    std::int32_t cols;
    index row_words;
    index head_words;  // 0: one layout for all
    const std::uint32_t* words = nullptr;

    [[nodiscard]] const std::uint32_t* row(std::int32_t head, index r) const {
      return words + head * head_words + r * row_words;
    }
    [[nodiscard]] range blocks_in(range positions) const {
      return {block_of(std::int32_t(positions.begin)),
              block_of(std::int32_t(positions.end - 1)) + 1};
    }
    [[nodiscard]] bool allows(std::int32_t i, std::int32_t j, problem p) const {
      return softlook::detail::bit_at(row(p.head, block_of(i)), block_of(j));
    }
    [[nodiscard]] range key_range(range q, problem p) const {
      if (q.empty()) return {};
      range live{};
      const range rows = blocks_in(q);
      for (index r = rows.begin; r < rows.end; ++r)
        live = hull(live, softlook::detail::span_of_bits(row(p.head, r), cols));
      return intersection({live.begin * block, live.end * block}, {0, p.keys});
    }
    [[nodiscard]] coverage coverage_of(range q, range k, problem p) const {
      const range rows = blocks_in(q), columns = blocks_in(k);
      const coverage first = softlook::detail::bits_set(row(p.head, rows.begin), columns);
      for (index r = rows.begin + 1; r < rows.end && first != coverage::partial; ++r)
        if (softlook::detail::bits_set(row(p.head, r), columns) != first) return coverage::partial;
      return first;
    }
  };
  /// A view; it lives as long as this mask or a copy of it.
  [[nodiscard]] const lookup_type& lookup_form() const { return form_; }

 private:
  block_sparse(index rows, index cols, index layouts, index block)
      : block_(block), rows_(rows), layouts_(layouts), form_(empty_form(cols, block)) {
    form_.head_words = layouts == 1 ? 0 : rows * form_.row_words;
    owner_ =
        std::make_shared<std::vector<std::uint32_t>>(std::size_t(layouts * rows * form_.row_words));
    form_.words = owner_->data();
  }

  [[nodiscard]] static lookup_type empty_form(index cols, index block) {
    if (block < 1)
      softlook::detail::raise_argument("masks::block_sparse", "block", double(block),
                                       "a block holds at least 1 position");
    const std::int32_t size = softlook::detail::band::clamp(block);
    return {softlook::detail::divider(size), size, std::int32_t(cols),
            softlook::detail::words_for(cols), 0};
  }

  template <class M>
  void add(const M& layout, index head) {
    static_assert(std::is_same_v<softlook::detail::scalar_of<M>, bool>,
                  "softlook: a layout of blocks is a matrix of bool");
    softlook::detail::check_sizes("masks::block_sparse", "rows of a layout", layout.rows(),
                                  "rows of the first", rows_, "all layouts have one shape");
    softlook::detail::check_sizes("masks::block_sparse", "columns of a layout", layout.cols(),
                                  "columns of the first", form_.cols, "all layouts have one shape");
    for (index r = 0; r < rows_; ++r)
      for (index c = 0; c < layout.cols(); ++c)
        if (layout.coeff(r, c))
          (*owner_)[std::size_t((head * rows_ + r) * form_.row_words + c / 32)] |= 1u << (c % 32);
  }

  index block_;
  index rows_;
  index layouts_;
  lookup_type form_;
  std::shared_ptr<std::vector<std::uint32_t>> owner_;
};

inline void block_sparse::check(const char* where, problem p) const {
  using softlook::detail::raise_sizes;
  const auto blocks = [this](std::int32_t positions) { return (positions + block_ - 1) / block_; };
  if (layouts_ != 1 && layouts_ != p.heads)
    raise_sizes(where, "masks::block_sparse layouts()", layouts_, "heads.query", p.heads,
                "there is one for all heads, or one for each");
  if (rows_ < blocks(p.queries))
    raise_sizes(where, "masks::block_sparse rows()", rows_, "Q.rows() / block", blocks(p.queries),
                "a layout has a row for each block of queries");
  if (form_.cols < blocks(p.keys))
    raise_sizes(where, "masks::block_sparse cols()", form_.cols, "K.rows() / block", blocks(p.keys),
                "a layout has a column for each block of keys");
}

/// \}

}  // namespace masks
SOFTLOOK_NAMESPACE_END
