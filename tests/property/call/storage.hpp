// Keys and values in every storage: strided views, 8 bits with scales, pages of each type.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "softlook/cache.hpp"
#include "tests/property/call/numbers.hpp"

namespace softlook_test::call_case {

/// Stored rows of whatever kind.
struct any_rows {
  using stored_rows_tag = void;
  using Scalar = float;
  std::function<softlook::detail::row_source<float>(softlook::instruction_set)> from;
  index rows_ = 0, cols_ = 0;
  plain wide{};      // as the kernels read them
  index scales = 1;  // for each row

  index rows() const { return rows_; }
  index cols() const { return cols_; }
  softlook::detail::row_source<float> source(softlook::instruction_set isa) const {
    return from(isa);
  }
};

template <class Rows, class Kept>
any_rows rows_of(const Rows& rows, std::shared_ptr<Kept> kept, plain wide) {
  return {[rows, kept](softlook::instruction_set isa) { return rows.source(isa); }, rows.rows(),
          rows.cols(), std::move(wide)};
}

/// x̂ of x, as the comment of int8_rows says.
inline plain rounded_to_8_bits(const plain& X, index heads) {
  plain R(X.rows(), X.cols());
  const index width = heads > 0 ? X.cols() / heads : 0;
  for (index i = 0; i < X.rows(); ++i)
    for (index h = 0; h < heads; ++h) {
      float most = 0;
      for (index x = 0; x < width; ++x) most = std::max(most, std::abs(X(i, h * width + x)));
      const float scale = most / 127 < 1e-36F ? 0 : most / 127;
      for (index x = 0; x < width; ++x)
        R(i, h * width + x) =
            scale > 0 ? scale * float(std::lrint(X(i, h * width + x) / scale)) : 0.0F;
    }
  return R;
}

template <class Stored>
any_rows pages_of(choices& in, const plain& X, bool& valid) {
  using pool_type = Eigen::Matrix<Stored, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  constexpr bool scaled = std::is_same_v<Stored, std::int8_t>;
  constexpr index page_sizes[] = {1, 2, 4, 8, 16, 32, 64, 128};
  const index page_rows = in.one_of(page_sizes);
  const index asked = in.one_in(64) ? or_wild(in, 3) : page_rows;
  const index rows = or_wild(in, X.rows());
  const index needed = (X.rows() + page_rows - 1) / page_rows;
  const index pages = needed + in.integer(0, 2), extra = in.one_in(32) ? 1 : 0;
  const auto pool = std::make_shared<pool_type>(pages * page_rows + extra, X.cols());
  const index heads = scaled ? in.integer(1, 4) : 1;
  const auto scales = std::make_shared<plain>(plain::Ones(pool->rows(), heads));
  generator random = in.numbers();
  std::vector<std::int32_t> table;
  for (index p = 0; p < needed; ++p)
    table.push_back(std::int32_t(random.bits() % std::uint64_t(pages)));
  const bool bad_page = needed > 0 && in.one_in(32);
  if (bad_page) table[0] = in.one_of<std::int32_t>({-1, std::int32_t(pages), 2147483647});
  for (index i = 0; i < pool->size(); ++i)
    pool->data()[i] = scaled ? Stored(random.bits() % 256) : Stored(float(random.uniform(-1, 1)));
  if (scaled)
    for (index i = 0; i < scales->size(); ++i)
      scales->data()[i] = float(random.uniform(-1, 1)) * 0.02F;
  const index shift = softlook::detail::exact_log2(asked);
  valid = shift >= 0 && asked <= (index{1} << 20) && pool->rows() % asked == 0 && rows >= 0 &&
          rows <= index(table.size()) * asked && (!scaled || X.cols() % heads == 0);
  for (const std::int32_t p : table)
    valid = valid && p >= 0 && p < pool->rows() / std::max<index>(asked, 1);
  // Rows of the given numbers, in the order of the table: of a page that comes twice the last.
  if constexpr (!scaled)
    for (index r = 0; r < X.rows() && !bad_page; ++r)
      for (index x = 0; x < X.cols(); ++x)
        (*pool)(table[std::size_t(r / page_rows)] * page_rows + r % page_rows, x) = Stored(X(r, x));
  any_rows result;
  const auto make = [&] {
    using paged = softlook::paged_rows<float, Stored>;
    const auto view = [&] {
      if constexpr (scaled)
        return paged(*pool, *scales, asked, table, rows);
      else
        return paged(*pool, asked, table, rows);
    }();
    plain wide(rows, X.cols());
    for (index r = 0; r < rows; ++r) {
      const index at = table[std::size_t(r / asked)] * asked + r % asked;
      for (index x = 0; x < X.cols(); ++x) {
        wide(r, x) = float((*pool)(at, x));
        if (scaled) wide(r, x) *= (*scales)(at, x / (X.cols() / heads));
      }
    }
    result =
        rows_of(view, std::make_shared<std::pair<decltype(pool), decltype(scales)>>(pool, scales),
                std::move(wide));
  };
  require(refused(make) == !valid, "paged_rows: refused or taken against its documentation");
  result.scales = heads;
  return result;
}

inline any_rows stored(choices& in, const plain& X, bool& valid) {
  valid = true;
  switch (in.integer(0, 5)) {
    case 0: {
      const auto memory = std::make_shared<placed<float>>(place<float>(in, X));
      const softlook::matrix_view<float> view{memory->memory->data() + memory->first, X.rows(),
                                              X.cols(), memory->row_stride, memory->col_stride};
      return {[memory, view](softlook::instruction_set isa) {
                return softlook::detail::source_of<float>(
                    view, softlook::detail::stored_rows_of<float, float>(isa));
              },
              X.rows(), X.cols(), X};
    }
    case 1: {
      const index heads = or_wild(in, in.integer(0, 4));
      valid = heads >= 1 && heads <= std::max<index>(X.cols(), 1) && X.cols() % heads == 0 &&
              X.allFinite();
      any_rows result;
      const auto make = [&] {
        const softlook::int8_rows<float> rows(X, heads);
        result = rows_of(rows, std::shared_ptr<int>(), rounded_to_8_bits(X, heads));
      };
      require(refused(make) == !valid, "int8_rows: refused or taken against its documentation");
      result.scales = heads;
      return result;
    }
    case 2:
      return pages_of<float>(in, X, valid);
    case 3:
      return pages_of<Eigen::half>(in, X, valid);
    case 4:
      return pages_of<Eigen::bfloat16>(in, X, valid);
    default:
      return pages_of<std::int8_t>(in, X, valid);
  }
}

}  // namespace softlook_test::call_case
