#pragma once

#include <cmath>
#include <optional>
#include <span>
#include <vector>

#include "softlook/engine/run/run_attention.hpp"

// Weights without a matrix of them: the maximum and the sum of each query first, then the weights
// again, tile by tile.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Queries whose weights are wanted: some, a block, or all.
struct asked_queries {
  std::optional<std::span<const index>> chosen{};
  std::optional<range> block{};
};

/// The weights of a checked call, whose values are none. Memory: two numbers for each query and
/// head, and the scratch of the tiled kernel.
template <bool Additive, class T>
class weight_stream {
 public:
  /// Of the queries that will be asked for: these, or a block of them, or all.
  explicit weight_stream(const attention_call<T>& c, const asked_queries& asked = {})
      : call_(c), registers_(registers_of<T>(c.isa)), kernels_(weights_of<T, Additive>(c.isa)) {
    call_.opts.kernel = kernel::tiled;
    call_.V = c.K.columns(0, 0);
    call_.value_rows = c.value_rows.columns(0, 0);
    call_.O = {};
    call_.log_sum_exp = {};
    const input_sizes sizes = sizes_of_inputs(call_);
    // Blocks of a fixed size: sums over them are the same on every machine and with any executor.
    const call_sizes shape = sizes_of(call_);
    layout_ = tiled_layout_for(shape, registers_, key_tile_for(shape, registers_), query_tiles_);
    T* const start =
        arena_.template take<T>(sizes.total() + call_.exec.concurrency * layout_.total);
    inputs_ = inputs_of(call_, start);
    v_ = start + sizes.total() - sizes.v;
    make_score_vector<Additive>(call_, running().score_scale(), v_);
    scratch_ = v_ + sizes.v;
    const std::size_t states = std::size_t(call_.Q.rows * call_.query_heads);
    maximum_.resize(states);
    sum_.resize(states);
    const range block = asked.block.value_or(range{0, asked.chosen ? 0 : queries()});
    if (asked.chosen)
      find_states(index(asked.chosen->size()), [&](index k) {
        const index i = (*asked.chosen)[std::size_t(k)];
        return range{i, i + 1};
      });
    find_states(ceil_div(block.count(), step()), [&](index k) {
      const index first = block.begin + k * step();
      return range{first, std::min(first + step(), block.end)};
    });
    if (call_.sinks.logits.data) join_sinks();
  }
  weight_stream(const weight_stream&) = delete;
  weight_stream& operator=(const weight_stream&) = delete;

  [[nodiscard]] index queries() const { return call_.Q.rows; }
  [[nodiscard]] index keys() const { return call_.K.rows; }
  [[nodiscard]] index heads() const { return call_.query_heads; }
  [[nodiscard]] const executor_ref& exec() const { return call_.exec; }
  [[nodiscard]] const weight_kernels<T, Additive>& kernels() const { return kernels_; }
  /// Queries in a register tile: a block of weights has no more of them.
  [[nodiscard]] index width() const { return registers_.width(); }
  /// Queries that a task takes at a time.
  [[nodiscard]] index step() const { return query_tiles_ * registers_.width(); }

  /// The weights of some queries and keys of a head, on a worker: blocks of the same queries come
  /// in the order of their keys.
  void walk(index head, range queries, range keys, const weight_request<T>& to,
            index worker) const {
    const running_call<T> run = running();
    call_frame frame = call_.frame;
    forward_args<T, Additive> a = run.template args_of_head<Additive>(layout_, head);
    // The rows of the call stay as they are, only some keys are walked over.
    frame.first_key += keys.begin * frame.key_stride;
    frame.private_keys =
        std::max<index>(0, keys.end - std::max(keys.begin, call_.frame.shared_keys(call_.K.rows)));
    a.keys = a.keys.rows_from(keys.begin, keys.count());
    a.values = a.values.rows_from(keys.begin, keys.count());
    a.frame = &frame;
    a.row_maximum = const_cast<T*>(maximum_.data()) + head * call_.Q.rows;
    a.row_sum = const_cast<T*>(sum_.data()) + head * call_.Q.rows;
    for (index first = queries.begin; first < queries.end; first += step())
      kernels_.weights(a, {first, std::min(first + step(), queries.end)}, to,
                       scratch_ + worker * layout_.total);
  }

 private:
  static constexpr index query_tiles_ = 4;

  [[nodiscard]] running_call<T> running() const { return {call_, inputs_, v_}; }
  /// The maximum and the sum of blocks of queries: of(block).
  template <class F>
  void find_states(index blocks, const F& of) {
    const tiled_kernel<T, Additive> kernel = tiled_kernel_of<T, Additive>(call_.isa);
    run_tasks(call_.exec, blocks * call_.query_heads, [&](index task, index worker) {
      const index head = quotient(task, blocks), block = blocks - 1 - (task - head * blocks);
      forward_args<T, Additive> a = running().template args_of_head<Additive>(layout_, head);
      a.row_maximum = maximum_.data() + head * call_.Q.rows;
      a.row_sum = sum_.data() + head * call_.Q.rows;
      kernel(a, of(block), scratch_ + worker * layout_.total);
    });
  }

  /// A sink is a key without a weight of its own.
  void join_sinks() {
    for (index head = 0; head < heads(); ++head)
      for (index i = 0; i < queries(); ++i) {
        T& most = maximum_[std::size_t(head * queries() + i)];
        T& sum = sum_[std::size_t(head * queries() + i)];
        const T sink = T(call_.sinks.logits(0, head) * log4_e);
        if (sum == 0 || !(sink > most)) {
          sum += sum == 0 ? T(0) : T(std::exp((sink - most) / T(log4_e)));
        } else {
          sum = sum * T(std::exp((most - sink) / T(log4_e))) + 1;
          most = sink;
        }
      }
  }

  attention_call<T> call_;
  const register_shape& registers_;
  const weight_kernels<T, Additive>& kernels_;
  call_scratch arena_{nullptr};
  tiled_layout layout_;
  score_inputs<T> inputs_;
  T* v_ = nullptr;
  T* scratch_ = nullptr;
  std::vector<T> maximum_;
  std::vector<T> sum_;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
