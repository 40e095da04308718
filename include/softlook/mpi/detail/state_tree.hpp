#pragma once

#include <bit>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "softlook/core/concepts.hpp"
#include "softlook/engine/kernels/softmax_state.hpp"
#include "softlook/engine/run/tasks.hpp"

// States of pieces of the keys, merged in a fixed binary tree: the brackets depend on the number of
// pieces alone, and not on which came first.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Normalised outputs of some rows, heads beside each other, and their log-sum-exps.
template <class T>
struct rank_state {
  row_major<T> O;            // n×(heads·e)
  row_major<T> log_sum_exp;  // n×heads
};

/// Some rows of a = the state over the keys of a and of b, which belong to the same rows; see
/// merge(). An empty row leaves the other one as it is, to the bit.
template <class T>
void merge_rows(rank_state<T>& a, const rank_state<T>& b, range rows) {
  using row = Eigen::Map<Eigen::Array<T, 1, Eigen::Dynamic>>;
  using const_row = Eigen::Map<const Eigen::Array<T, 1, Eigen::Dynamic>>;
  constexpr T nothing = -std::numeric_limits<T>::infinity();
  const index heads = a.log_sum_exp.cols(), e = heads > 0 ? a.O.cols() / heads : 0;
  for (index i = rows.begin; i < rows.end; ++i)
    for (index h = 0; h < heads; ++h) {
      T& left = a.log_sum_exp(i, h);
      const T right = b.log_sum_exp(i, h);
      if (right == nothing) continue;
      row to(a.O.data() + i * a.O.cols() + h * e, e);
      const const_row from(b.O.data() + i * b.O.cols() + h * e, e);
      if (left == nothing) {
        to = from;
        left = right;
        continue;
      }
      const merged_states<T> merged = merge_states<T>(left, right);
      to = merged.of_left * to + merged.of_right * from;
      left = merged.log_sum_exp;
    }
}

/// All rows, shared out over an executor.
template <class T>
void merge_into(rank_state<T>& a, const rank_state<T>& b,
                const executor_ref& exec = calling_thread) {
  constexpr index block = 256;  // rows: a second-level cache holds them, whatever a row is
  const index n = a.log_sum_exp.rows();
  run_tasks(exec, ceil_div(n, block), [&](index task, index) {
    merge_rows(a, b, {task * block, std::min((task + 1) * block, n)});
  });
}

/// A node of the tree: that of level l and number k is of the leaves [k·2^l, (k + 1)·2^l).
struct tree_node {
  int level = 0;
  index number = 0;
  friend bool operator==(const tree_node&, const tree_node&) = default;
};

/// Nodes that wait for their neighbours. State is anything; merge(left, right) joins two.
template <class State>
class waiting_nodes {
 public:
  explicit waiting_nodes(index leaves)
      : leaves_(leaves), top_(leaves > 1 ? int(std::bit_width(std::size_t(leaves - 1))) : 0) {}

  /// A node, and all that it completes.
  template <class Merge>
  void put(tree_node at, State&& state, const Merge& merge) {
    for (; at.level < top_; ++at.level, at.number /= 2) {
      const index neighbour = at.number ^ 1;
      if ((neighbour << at.level) >= leaves_) continue;  // there is none
      const auto other = find({at.level, neighbour});
      if (other == waiting_.end()) break;
      if (neighbour < at.number) std::swap(other->second, state);
      merge(state, std::move(other->second));
      waiting_.erase(other);
    }
    waiting_.emplace_back(at, std::move(state));
  }
  /// In the order in which they came.
  [[nodiscard]] std::vector<std::pair<tree_node, State>>& all() { return waiting_; }

 private:
  auto find(const tree_node& node) {
    auto at = waiting_.begin();
    while (at != waiting_.end() && !(at->first == node)) ++at;
    return at;
  }

  index leaves_;
  int top_;
  std::vector<std::pair<tree_node, State>> waiting_;
};

/// The states of all pieces of the keys; a piece that no row sees has none, which is the identity.
template <class T>
class state_tree {
 public:
  using state = std::optional<rank_state<T>>;
  explicit state_tree(index pieces, const executor_ref& exec = calling_thread)
      : nodes_(pieces), exec_(exec) {}

  /// The state of a piece.
  void put(index piece, state&& given) { put(tree_node{0, piece}, std::move(given)); }
  void put(const tree_node& at, state&& given) {
    nodes_.put(at, std::move(given), [this](state& left, state&& right) {
      if (!right) return;
      if (!left) return std::swap(left, right);
      merge_into(*left, *right, exec_);
      spare_.push_back(std::move(*right));
    });
    most_ = std::max(most_, nodes_.all().size());
  }
  /// Of all pieces, once they are there; none where no row sees a key.
  [[nodiscard]] state take() { return std::move(nodes_.all().front().second); }
  [[nodiscard]] std::vector<std::pair<tree_node, state>>& waiting() { return nodes_.all(); }
  [[nodiscard]] std::size_t most_waiting() const { return most_; }

  /// Room for a state, of one that has been merged or new.
  [[nodiscard]] rank_state<T> room(index rows, index columns, index heads) {
    rank_state<T> s;
    if (!spare_.empty()) {
      s = std::move(spare_.back());
      spare_.pop_back();
    }
    s.O.resize(rows, columns);
    s.log_sum_exp.resize(rows, heads);
    return s;
  }

 private:
  waiting_nodes<state> nodes_;
  executor_ref exec_;
  std::vector<rank_state<T>> spare_;
  std::size_t most_ = 0;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
