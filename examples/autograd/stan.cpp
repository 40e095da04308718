// Attention as one node of Stan Math's tape: forward is softlook's kernel, and when the tape is run
// backwards attention_backward() adds to the adjoints of queries, keys and values. Beside it the
// same with numbers of the tape themselves, by plain loops: about n·m·(d + e) nodes.
//
// expect: largest difference of gradients: [0-9.]+e-1[0-9]
// expect: nodes on the tape: 1 against [0-9]{4,}

#include <stan/math/rev/mat.hpp>
// The tape first: it specialises Eigen's traits.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <softlook/attention.hpp>
#include <softlook/attention/any_scalar.hpp>
#include <softlook/gradients.hpp>

namespace {

using stan::math::var;
using stan::math::vari;
using matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using var_matrix = Eigen::Matrix<var, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// The tape destroys no nodes, so what they keep is in its arena.
Eigen::Map<matrix> kept(const matrix& X) {
  double* const at =
      stan::math::ChainableStack::instance_->memalloc_.alloc_array<double>(std::size_t(X.size()));
  Eigen::Map<matrix> to(at, X.rows(), X.cols());
  to = X;
  return to;
}
vari** nodes_of(const var_matrix& X) {
  vari** const at =
      stan::math::ChainableStack::instance_->memalloc_.alloc_array<vari*>(std::size_t(X.size()));
  for (Eigen::Index k = 0; k < X.size(); ++k) at[k] = X.data()[k].vi_;
  return at;
}
matrix values_of(const var_matrix& X) {
  return X.unaryExpr([](const var& x) { return x.val(); });
}

class attention_node : public vari {
 public:
  attention_node(const var_matrix& q, const var_matrix& k, const var_matrix& v)
      : vari(0.0),
        Q_(kept(values_of(q))),
        K_(kept(values_of(k))),
        V_(kept(values_of(v))),
        q_(nodes_of(q)),
        k_(nodes_of(k)),
        v_(nodes_of(v)),
        state_(softlook::attention_with_log_sum_exp(Q_, K_, V_, softlook::masks::causal{})),
        O_(kept(state_.output)),
        L_(kept(state_.log_sum_exp)) {
    var_matrix outputs(O_.rows(), O_.cols());
    for (Eigen::Index e = 0; e < O_.size(); ++e)
      outputs.data()[e] = var(new vari(O_.data()[e], false));
    o_ = nodes_of(outputs);
    state_ = {};
  }

  [[nodiscard]] var_matrix output() const {
    var_matrix O(O_.rows(), O_.cols());
    for (Eigen::Index e = 0; e < O.size(); ++e) O.data()[e] = var(o_[e]);
    return O;
  }

  void chain() override {
    matrix dO(O_.rows(), O_.cols());
    for (Eigen::Index e = 0; e < dO.size(); ++e) dO.data()[e] = o_[e]->adj_;
    const auto g = softlook::attention_backward(Q_, K_, V_, O_, L_, dO, softlook::masks::causal{});
    add(g.dQ, q_);
    add(g.dK, k_);
    add(g.dV, v_);
  }

 private:
  static void add(const matrix& d, vari** to) {
    for (Eigen::Index k = 0; k < d.size(); ++k) to[k]->adj_ += d.data()[k];
  }

  Eigen::Map<matrix> Q_, K_, V_;
  vari **q_, **k_, **v_;
  softlook::attention_state<matrix> state_;
  Eigen::Map<matrix> O_, L_;
  vari** o_ = nullptr;
};

/// Gradients of ½‖attention(Q, K, V)‖² by a way to compute it, and the nodes that it took.
template <class F>
matrix gradients_of(const matrix& Q, const matrix& K, const matrix& V, const F& attend,
                    std::size_t& nodes) {
  var_matrix q = Q.cast<var>(), k = K.cast<var>(), v = V.cast<var>();
  const std::size_t before = stan::math::ChainableStack::instance_->var_stack_.size();
  const var_matrix O = attend(q, k, v);
  nodes = stan::math::ChainableStack::instance_->var_stack_.size() - before;
  var l = 0;
  for (Eigen::Index e = 0; e < O.size(); ++e) l += 0.5 * O.data()[e] * O.data()[e];
  l.grad();
  matrix all(Q.rows() + K.rows(), Q.cols());
  for (Eigen::Index e = 0; e < q.size(); ++e) all.data()[e] = q.data()[e].adj();
  for (Eigen::Index e = 0; e < k.size(); ++e) all.data()[q.size() + e] = k.data()[e].adj();
  stan::math::recover_memory();
  return all;
}

}  // namespace

int main() {
  std::srand(1);
  const matrix Q = matrix::Random(12, 6), K = matrix::Random(12, 6), V = matrix::Random(12, 6);
  std::size_t one = 0, many = 0;
  const matrix ours = gradients_of(
      Q, K, V,
      [](const auto& q, const auto& k, const auto& v) {
        return (new attention_node(q, k, v))->output();
      },
      one);
  const matrix theirs = gradients_of(
      Q, K, V,
      [](const auto& q, const auto& k, const auto& v) {
        return var_matrix(softlook::attention(q, k, v, softlook::masks::causal{}));
      },
      many);
  const double difference = (ours - theirs).cwiseAbs().maxCoeff();
  std::cout << "causal attention of 12 rows of 6 on Stan Math's tape\n"
            << "largest difference of gradients: " << difference << '\n'
            << "nodes on the tape: " << one << " against " << many << '\n';
  return std::isfinite(difference) && difference <= 1e-12 ? 0 : 1;
}
