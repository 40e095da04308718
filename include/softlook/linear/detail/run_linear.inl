#pragma once

#include <algorithm>

// The tasks of a call of linear attention, which softlook::compiled holds.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Tokens whose features are computed outside the loop at a time: whole chunks.
inline constexpr index feature_block = 4 * recurrent_chunk;
/// Queries of a task that only reads the state.
inline constexpr index read_block = 16 * recurrent_chunk;
/// Below, taking the state apart into panels costs more than chunks save.
inline constexpr index fewest_chunked = 8;
/// Below, a pass over the tokens is not worth a second thread.
inline constexpr index fewest_shared = 4 * recurrent_chunk;

/// Some columns of a head's values. Columns of a state never meet: each is computed from its column
/// of V, and from keys, queries, gates and strengths.
struct value_part {
  index first = 0;
  index count = 0;
};

/// Keys without an order, cut into pieces: their states are sums, and are added in order. How many
/// depends on the number of keys alone.
struct key_pieces {
  static constexpr index most = 16, least_keys = 16 * recurrent_chunk;
  index count = 1;
  index keys = 0;  // of a piece

  explicit key_pieces(index all)
      : keys(round_up(ceil_div(all, std::clamp<index>(all / least_keys, 1, most)),
                      recurrent_chunk)) {
    count = std::max<index>(ceil_div(all, std::max<index>(keys, 1)), 1);
  }
};

template <class T>
class linear_run {
 public:
  linear_run(const linear_call<T>& c, instruction_set isa)
      : c_(c), isa_(isa), kernels_(recurrents_of<T>(isa)) {
    shape_ = {c.features(), c.values()};
    by_token_ = c.causal && (c.gate_by_feature(shape_.features) || c.K.rows < fewest_chunked);
    mapped_ = c.map.apply ? feature_block * shape_.rows() : 0;
  }

  [[nodiscard]] const state_shape& shape() const { return shape_; }

  void run() {
    if (c_.causal)
      run_in_order();
    else
      run_without_order();
  }

 private:
  /// Tokens in order: where there are more workers than heads, a head's columns of values are
  /// shared out among them. Each computes the pairs of queries and keys again, and no bit depends
  /// on who computes a column.
  void run_in_order() {
    const index kv = c_.kv(), columns = columns_of_part(), parts = parts_of(columns);
    if (by_token_ && c_.state && !c_.map.apply && kv == 1 && parts == 1) {
      pass(0, {0, shape_.values}, c_.state, c_.scratch);  // a step allocates nothing
      return;
    }
    const state_shape part{shape_.features, columns};
    const bool apart = parts > 1 || !c_.state;  // from the caller's states
    const index states = apart ? kv * parts * part.total() : 0;
    const index workers = std::min(c_.exec.concurrency, kv * parts);
    call_scratch arena(c_.opts.workspace);
    T* const start = arena.template take<T>(states + workers * scratch(part));
    const auto of_task = [&](index task) {
      return apart ? start + task * part.total() : c_.state + task * part.total();
    };
    run_tasks(c_.exec, kv * parts, [&](index task, index worker) {
      const index head = task / parts;
      const value_part mine = part_at(task % parts, columns);
      T* const state = of_task(task);
      if (apart) begin_part(head, mine, state);
      pass(head, mine, state, start + states + worker * scratch(part));
    });
    if (apart && c_.state)
      for (index task = 0; task < kv * parts; ++task)
        end_part(task / parts, part_at(task % parts, columns), of_task(task));
  }

  /// All keys, then all queries.
  void run_without_order() {
    const key_pieces pieces(c_.K.rows);
    const index kv = c_.kv(), reads = c_.of.query * ceil_div(c_.Q.rows, read_block);
    const index sums = kv * pieces.count, total = shape_.total();
    const index workers = std::min(c_.exec.concurrency, std::max(sums, reads));
    call_scratch arena(c_.opts.workspace);
    T* const start = arena.template take<T>(sums * total + workers * scratch(shape_));
    const auto of_worker = [&](index w) { return start + sums * total + w * scratch(shape_); };
    std::fill_n(start, sums * total, T(0));
    run_tasks(c_.exec, sums, [&](index task, index worker) {
      const index first = task % pieces.count * pieces.keys;
      sum_keys(task / pieces.count, {first, std::min(first + pieces.keys, c_.K.rows)},
               start + task * total, of_worker(worker));
    });
    run_tasks(c_.exec, pieces.count > 1 ? kv : 0, [&](index head, index) {
      T* const sum = start + head * pieces.count * total;
      for (index p = 1; p < pieces.count; ++p)
        for (index x = 0; x < total; ++x) sum[x] += sum[p * total + x];
    });
    run_tasks(c_.exec, reads, [&](index task, index worker) {
      const index head = task % c_.of.query, first = task / c_.of.query * read_block;
      read(head, {first, std::min(first + read_block, c_.Q.rows)},
           start + head / c_.group() * pieces.count * total, of_worker(worker));
    });
  }

  /// Columns of a part: whole rows of a state in memory.
  [[nodiscard]] index columns_of_part() const {
    const index workers = c_.K.rows < fewest_shared ? 1 : c_.exec.concurrency / c_.kv();
    if (workers <= 1) return shape_.values;
    return round_up(ceil_div(shape_.values, workers), state_step);
  }
  [[nodiscard]] index parts_of(index columns) const {
    return std::max<index>(ceil_div(shape_.values, std::max<index>(columns, 1)), 1);
  }
  [[nodiscard]] value_part part_at(index part, index columns) const {
    return {part * columns, std::min(columns, shape_.values - part * columns)};
  }
  /// A state of its own for some columns, from the caller's or from nothing, and back.
  void begin_part(index head, const value_part& part, T* state) const {
    const state_shape own{shape_.features, part.count};
    std::fill_n(state, own.total(), T(0));
    if (!c_.state) return;
    const T* const whole = c_.state + head * shape_.total();
    for (index f = 0; f < shape_.features; ++f)
      std::copy_n(whole + f * shape_.stride() + part.first, part.count, state + f * own.stride());
    std::copy_n(whole + shape_.key_sum(), shape_.rows(), state + own.key_sum());
    state[own.decay_sum()] = whole[shape_.decay_sum()];
  }
  void end_part(index head, const value_part& part, const T* state) const {
    const state_shape own{shape_.features, part.count};
    T* const whole = c_.state + head * shape_.total();
    for (index f = 0; f < shape_.features; ++f)
      std::copy_n(state + f * own.stride(), part.count, whole + f * shape_.stride() + part.first);
    std::copy_n(state + own.key_sum(), shape_.rows(), whole + shape_.key_sum());
    whole[shape_.decay_sum()] = state[own.decay_sum()];
  }

  [[nodiscard]] recurrent_layout layout_of(const state_shape& shape) const {
    return recurrent_layout::of(shape, c_.gate.data != nullptr, c_.strength.data != nullptr);
  }
  [[nodiscard]] index loop_scratch(const state_shape& shape) const {
    return by_token_ ? token_scratch(shape) : layout_of(shape).total;
  }
  [[nodiscard]] index scratch(const state_shape& shape) const {
    return loop_scratch(shape) + mapped_ * (c_.group() + 1) + (c_.map.apply ? feature_block : 0);
  }

  [[nodiscard]] recurrent_args<T> args(index columns, T* state) const {
    recurrent_args<T> a;
    a.map = c_.map.kind;
    a.scale = T(c_.opts.scale.value_or(1));
    a.divisor = c_.divisor;
    a.epsilon = T(c_.epsilon);
    a.shape = {shape_.features, columns};
    a.heads_apart = shape_.values;
    a.state = state;
    a.layout = layout_of(a.shape);
    return a;
  }

  /// The keys of a head, and some columns of its values.
  void set_keys(index head, const value_part& part, recurrent_args<T>& a) const {
    const index inputs = c_.inputs();
    a.K = c_.K.columns(head * inputs, inputs);
    a.V = c_.V.columns(head * shape_.values + part.first, part.count);
  }

  /// All tokens of one head of keys, and some columns of its values.
  void pass(index head, const value_part& part, T* state, T* scratch) const {
    const index group = c_.group(), inputs = c_.inputs(), values = shape_.values;
    recurrent_args<T> a = args(part.count, state);
    a.group = group;
    set_keys(head, part, a);
    a.Q = c_.Q.columns(head * group * inputs, group * inputs);
    a.O = {c_.O.data, c_.O.rows, group * values - part.first, c_.O.row_stride, c_.O.col_stride};
    if (c_.O.rows > 0 && values > 0)
      a.O.data += (head * group * values + part.first) * c_.O.col_stride;
    set_policies(head, a);
    walk(a, scratch);
  }

  /// Some keys of one head join a state.
  void sum_keys(index head, range keys, T* state, T* scratch) const {
    recurrent_args<T> a = args(shape_.values, state);
    a.writes_output = false;
    set_keys(head, {0, shape_.values}, a);
    a.K = a.K.rows_from(keys.begin, keys.count());
    a.V = a.V.rows_from(keys.begin, keys.count());
    walk(a, scratch);
  }

  void walk(recurrent_args<T>& a, T* scratch) const {
    if (a.K.rows == 0) return;
    if (by_token_) {
      blocks(a, scratch, kernels_.tokens);
      return;
    }
    kernels_.load(a, scratch);
    blocks(a, scratch, kernels_.chunks);
    kernels_.store(a, scratch);
  }

  void set_policies(index head, recurrent_args<T>& a) const {
    if (c_.gate.data) {
      const index width = c_.gate.cols / c_.kv();
      a.gate = {c_.gate.data + head * width * c_.gate.col_stride, c_.K.rows, width,
                c_.log_gate ? c_.gate.row_stride : 0, c_.gate.col_stride};
      a.log_gate = c_.log_gate;
    }
    if (c_.strength.data) a.strength = c_.strength.columns(c_.strength.cols == 1 ? 0 : head, 1);
  }

  /// Some queries of one head, against a state that is complete.
  void read(index head, range rows, const T* state, T* scratch) const {
    const index inputs = c_.inputs(), values = c_.values();
    recurrent_args<T> a = args(values, const_cast<T*>(state));  // only read: there are no keys
    a.updates_state = false;
    a.Q = c_.Q.columns(head * inputs, inputs).rows_from(rows.begin, rows.count());
    a.O = {c_.O.data, rows.count(), values, c_.O.row_stride, c_.O.col_stride};
    if (values > 0) a.O.data += rows.begin * c_.O.row_stride + head * values * c_.O.col_stride;
    kernels_.load(a, scratch);
    blocks(a, scratch, kernels_.chunks);
  }

  /// The loop itself; where features come from outside, a block of tokens at a time.
  void blocks(recurrent_args<T>& a, T* scratch, void (*loop)(const recurrent_args<T>&, T*)) const {
    const index n = a.updates_state ? a.K.rows : a.Q.rows;
    if (!c_.map.apply) {
      loop(a, scratch);
      return;
    }
    T* const keys = scratch + loop_scratch(a.shape);
    const recurrent_args<T> whole = a;
    for (index first = 0; first < n; first += feature_block) {
      const index count = std::min(feature_block, n - first);
      const auto part = [&](const auto& X) { return X.rows > 0 ? X.rows_from(first, count) : X; };
      a.V = part(whole.V);
      a.O = part(whole.O);
      a.gate = part(whole.gate);
      a.strength = part(whole.strength);
      if (a.updates_state) a.K = mapped(part(whole.K), 1, true, keys);
      if (a.writes_output) a.Q = mapped(part(whole.Q), whole.group, false, keys + mapped_);
      loop(a, scratch);
    }
  }

  [[nodiscard]] matrix_view<T> mapped(const matrix_view<T>& X, index group, bool keys,
                                      T* out) const {
    const index inputs = X.cols / group, stride = group * shape_.rows();
    T* const numbers = out + (keys ? mapped_ * (1 + c_.group()) : mapped_ * c_.group());
    for (index h = 0; h < group; ++h)
      c_.map.apply(c_.map.self, c_.where, isa_, X.columns(h * inputs, inputs), keys,
                   {out + h * shape_.rows(), X.rows, shape_.features, stride, 1}, numbers);
    return {out, X.rows, stride, stride, 1};
  }

  const linear_call<T>& c_;
  instruction_set isa_;
  const recurrent_kernels<T>& kernels_;
  state_shape shape_;
  index mapped_ = 0;
  bool by_token_ = false;
};

template <class T>
void run_linear(const linear_call<T>& c) {
  check_linear_heads(c);
  const instruction_set isa = chosen_instruction_set(c.where, c.opts);
  linear_run<T> run(c, isa);
  check_linear(c, run.shape().features);
  if (c.O.rows == 0 && !c.state) return;
  run.run();
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
