#pragma once

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace masks {

/// \addtogroup masks
/// \{

namespace detail {
struct matrix_of_bool {
  template <class M>
  static constexpr void check() {
    static_assert(std::is_same_v<softlook::detail::scalar_of<M>, bool>,
                  "softlook: a dense mask is a matrix of bool (add scores with transforms::bias)");
  }
};
}  // namespace detail

/// A matrix of bool, n×m: true = attend (`ignored = false`), or true = ignore. A view; keep the
/// matrix alive. One row or one column is repeated; heads·n rows are a mask for each query head.
struct dense {
  using policy_kind = mask_kind;

  explicit dense(softlook::detail::kept_view<bool, detail::matrix_of_bool> attend,
                 bool true_means_ignore = false)
      : allowed_(attend), ignored_(true_means_ignore) {}

  [[nodiscard]] bool allows(std::int32_t i, std::int32_t j, problem p) const {
    return allowed_(softlook::detail::row_of_query(allowed_, i, p), allowed_.cols == 1 ? 0 : j) !=
           ignored_;
  }
  [[nodiscard]] range key_range(range, problem p) const { return {0, p.keys}; }
  [[nodiscard]] coverage coverage_of(range, range, problem) const { return coverage::partial; }

  /// \throws shape_error unless the mask is n×m (or has one row, heads·n rows, or one column).
  void check(const char* where, problem p) const {
    softlook::detail::check_broadcast(where, "masks::dense rows()", allowed_.rows,
                                      "masks::dense cols()", allowed_.cols, p);
  }

 private:
  matrix_view<bool> allowed_;
  bool ignored_;
};

/// A dense mask in the convention of torch.nn.MultiheadAttention: true = ignore this key.
template <dense_expression M>
[[nodiscard]] dense dense_ignoring(M&& ignored) {
  return dense(std::forward<M>(ignored), true);
}

/// \}

}  // namespace masks
SOFTLOOK_NAMESPACE_END
