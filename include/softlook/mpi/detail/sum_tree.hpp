#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "softlook/mpi/detail/back_run.hpp"
#include "softlook/mpi/detail/ring_pieces.hpp"
#include "softlook/mpi/detail/state_tree.hpp"

// Sums over pieces of a sequence, with brackets that depend on the number of pieces alone.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// What pieces give; a piece that gives nothing has no matrix, which is the same as one of zeros:
/// the kernels add to +0, so no −0 is in a sum that a +0 would change.
template <class T>
class sum_tree {
 public:
  using sum = std::optional<row_major<T>>;
  explicit sum_tree(index pieces) : nodes_(pieces) {}

  void put(const tree_node& at, sum&& given) {
    nodes_.put(at, std::move(given), [this](sum& left, sum&& right) {
      if (!right) return;
      if (!left) return std::swap(left, right);
      *left += *right;
      spare_.push_back(std::move(*right));
    });
  }
  /// Of all pieces, once they are there.
  [[nodiscard]] const sum& all() { return nodes_.all().front().second; }
  /// Of the pieces that are there: as few sums as the brackets allow.
  [[nodiscard]] std::vector<std::pair<tree_node, sum>>& waiting() { return nodes_.all(); }

  /// A matrix, of one that has been added or new; its numbers are anything.
  [[nodiscard]] row_major<T> room(index rows, index cols) {
    row_major<T> X;
    if (!spare_.empty()) {
      X = std::move(spare_.back());
      spare_.pop_back();
    }
    X.resize(rows, cols);
    return X;
  }

 private:
  waiting_nodes<sum> nodes_;
  std::vector<row_major<T>> spare_;
};

/// The sums that wait on a rank which has put all of its pieces, in their order.
[[nodiscard]] inline std::vector<tree_node> nodes_of_rank(const ring_pieces& pieces, int rank) {
  waiting_nodes<char> nodes(pieces.count());
  pieces.for_each(rank,
                  [&](index piece, range, index) { nodes.put({0, piece}, 0, [](char, char) {}); });
  std::vector<tree_node> all;
  for (const auto& node : nodes.all()) all.push_back(node.first);
  return all;
}

/// Sums of all nodes of a rank over some rows, as they travel: one after the other.
template <class T>
struct packed_sums {
  row_buffer<T> all;
  index rows = 0;  // of a node

  [[nodiscard]] row_buffer<T> node(std::size_t k) const {
    return {all.data + index(k) * rows * all.row_bytes(), rows, all.cols};
  }
};

/// The sums that wait into what is sent.
template <class T>
void pack_sums(sum_tree<T>& tree, const packed_sums<T>& to) {
  std::size_t k = 0;
  for (const auto& [at, sum] : tree.waiting()) {
    const row_buffer<T> there = to.node(k++);
    if (sum)
      pack_rows(view_of(*sum), there.all());
    else
      clear(there.writable());
  }
}

/// And what has arrived into the tree.
template <class T>
void take_sums(const packed_sums<T>& from, const std::vector<tree_node>& nodes, sum_tree<T>& tree) {
  for (std::size_t k = 0; k < nodes.size(); ++k) {
    row_major<T> sum = tree.room(from.rows, from.all.cols);
    copy_rows(from.node(k).view(), writable_view(sum));
    tree.put(nodes[k], std::move(sum));
  }
}

/// The sum of all pieces.
template <class T>
void write_sum(sum_tree<T>& tree, const mutable_matrix_view<T>& to) {
  if (const auto& sum = tree.all())
    copy_rows(view_of(*sum), to);
  else
    clear(to);
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
