#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "softlook/engine/run/attention_call.hpp"
#include "softlook/engine/run/packed_linear.hpp"

// Products and norms behind each other as one set of tasks.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Rows of the smallest block: a worker's scratch for norms is there for as many blocks.
inline constexpr index least_row_block = norm_block;

/// Whether rows are many enough to give every worker a block of them. Fewer leave workers idle, or
/// make each of them read all weights for too few rows.
[[nodiscard]] constexpr bool has_row_blocks(index rows, index workers) {
  return workers > 1 && rows >= least_row_block * workers;
}

/// Rows of a block: a whole number of blocks for each worker; as many rows as leave those of the
/// widest input in the second-level cache, because each block reads all weights.
[[nodiscard]] constexpr index row_block_for(index rows, index row_bytes, index workers) {
  constexpr index row_step = 8;
  const index fit = index{768 * 1024} / std::max<index>(row_bytes, 1) / row_step * row_step;
  const index most = std::clamp<index>(fit, least_row_block, 4 * least_row_block);
  const index blocks = round_up(std::max<index>(ceil_div(rows, most), 1), workers);
  return std::max(round_up(ceil_div(rows, blocks), row_step), least_row_block);
}

/// Steps that take rows of their inputs to the same rows of their outputs. Where has_row_blocks(),
/// they are put off until run(), which takes each block of rows through all of them: one set of
/// tasks instead of one with a barrier for each step. Otherwise a step runs when it is added, its
/// columns shared out. No bit depends on that. What steps read and write outlives run().
template <class T>
class row_chain {
 public:
  /// `norm_rows`: scratch of the norms that are added, for row_norm::workers().
  row_chain(const layer_call& call, index rows, T* norm_rows)
      : call_(call),
        rows_(rows),
        norm_rows_(norm_rows),
        puts_off_(has_row_blocks(rows, call.exec.concurrency)) {}
  /// Steps that run when they are added.
  explicit row_chain(const layer_call& call) : row_chain(call, 0, nullptr) {}

  /// Products that do not wait for each other.
  template <std::size_t Count>
  void products(std::array<product_args<T>, Count> all) {
    if (puts_off_) {
      const auto is_other = [&](const product_args<T>& a) { return a.Y.rows != rows_; };
      for (const product_args<T>& a : all)
        if (!is_other(a)) put_off({a, nullptr});
      if (std::none_of(all.begin(), all.end(), is_other)) return;
      run();
      for (product_args<T>& a : all)
        if (!is_other(a)) a.Y.rows = 0;
    }
    run_products<T, Count>(products_of<T>(call_.isa), call_.exec, all);
  }
  /// Y = linear(X) ∘ factor + residual; Y may be the factor or the residual.
  /// `rounded`: a place for X where the layer rounds it.
  void product(const packed_linear<T>& linear, const matrix_view<T>& X,
               const mutable_matrix_view<T>& Y, const mutable_matrix_view<T>& rounded,
               const matrix_view<T>& residual = {}, const matrix_view<T>& factor = {}) {
    products<1>({linear.args(call_.isa, X, Y, rounded, residual, factor)});
  }
  /// Y may be X.
  void norm(const row_norm<T>& of, const matrix_view<T>& X, const mutable_matrix_view<T>& Y) {
    if (!puts_off_) return of.run(call_.isa, call_.exec, X, Y, norm_rows_);
    product_args<T> a;
    a.X = X;
    a.Y = Y;
    put_off({a, &of});
  }

  /// Does what was put off.
  void run() {
    const std::size_t count = std::exchange(count_, 0);
    if (count == 0) return;
    index widest = 1;
    for (std::size_t s = 0; s < count; ++s) widest = std::max(widest, steps_[s].args.X.cols);
    const index block = row_block_for(rows_, widest * index(sizeof(T)), call_.exec.concurrency);
    const product_kernels<T>& kernels = products_of<T>(call_.isa);
    run_tasks(call_.exec, ceil_div(rows_, block), [&](index task, index worker) {
      const range rows{task * block, std::min((task + 1) * block, rows_)};
      for (std::size_t s = 0; s < count; ++s) {
        const auto& [args, norm] = steps_[s];
        if (norm) {
          norm->run_rows(call_.isa, args.X, args.Y, rows,
                         norm_rows_ + worker * norm->scratch_size());
          continue;
        }
        if (args.round && (s == 0 || !share_rounded(steps_[s - 1].args, args)))
          args.round(args, rows);
        linear_of(kernels, args)(args, rows, {0, args.Y.cols});
      }
    });
  }

 private:
  struct step {
    product_args<T> args;  // of a norm: X and Y
    const row_norm<T>* norm;
  };

  void put_off(const step& next) {
    if (next.args.Y.cols == 0) return;
    const auto meets = [&](const step& earlier) {
      return shares_rows(next.args.Y, as_input(earlier.args.Y)) ||
             shares_rows(next.args.Y, earlier.args.X) ||
             shares_rows(next.args.Y, earlier.args.residual) ||
             shares_rows(next.args.Y, earlier.args.factor) ||
             shares_rows(next.args.Y, as_input(earlier.args.rounded)) ||
             shares_rows(earlier.args.Y, next.args.X) ||
             shares_rows(earlier.args.Y, next.args.residual) ||
             shares_rows(earlier.args.Y, next.args.factor) || rounds_over(next.args, earlier.args);
    };
    if (count_ == steps_.size() || std::any_of(steps_.begin(), steps_.begin() + count_, meets))
      run();
    steps_[count_++] = next;
  }

  /// Whether the rounded rows of a step may lie where the other has rows.
  [[nodiscard]] static bool rounds_over(const product_args<T>& a, const product_args<T>& b) {
    return a.rounded.data &&
           (shares_rows(a.rounded, as_input(b.Y)) || shares_rows(a.rounded, b.X) ||
            shares_rows(a.rounded, b.residual) || shares_rows(a.rounded, b.factor) ||
            shares_rows(a.rounded, as_input(b.rounded)));
  }

  /// Whether a row of one may lie where another row of the other does: such steps wait for each
  /// other.
  [[nodiscard]] static bool shares_rows(const mutable_matrix_view<T>& a, const matrix_view<T>& b) {
    if (!b.data ||
        (a.data == b.data && a.row_stride == b.row_stride && a.col_stride == b.col_stride))
      return false;
    return !lie_apart(as_input(a), b);
  }

  const layer_call& call_;
  index rows_;
  T* norm_rows_;
  bool puts_off_;
  std::size_t count_ = 0;
  std::array<step, 12> steps_;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
