// Attention as a function of LibTorch: forward and backward are softlook's, the graph around them
// is PyTorch's. Nothing is copied: tensors are read and written where they lie, and between the two
// only the log-sum-exp is kept, not the n×m weights.
//
// expect: largest difference of gradients: [0-9.]+e-(0[6-9]|1[0-9])

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <softlook/attention.hpp>
#include <softlook/gradients.hpp>

namespace {

using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// A tensor of rows × columns as a matrix, in place.
Eigen::Map<const matrix> rows_of(const torch::Tensor& X) {
  return {X.data_ptr<float>(), X.size(0), X.size(1)};
}

torch::Tensor tensor_of(const matrix& X) {
  return torch::from_blob(const_cast<float*>(X.data()), {X.rows(), X.cols()}).clone();
}

/// Heads lie side by side in the columns.
struct causal_attention : torch::autograd::Function<causal_attention> {
  static torch::Tensor forward(torch::autograd::AutogradContext* context, torch::Tensor Q,
                               torch::Tensor K, torch::Tensor V, std::int64_t heads) {
    Q = Q.contiguous();
    K = K.contiguous();
    V = V.contiguous();
    const auto state = softlook::attention_with_log_sum_exp(
        rows_of(Q), rows_of(K), rows_of(V), softlook::masks::causal{}, softlook::heads{heads});
    const torch::Tensor O = tensor_of(state.output), L = tensor_of(state.log_sum_exp);
    context->save_for_backward({Q, K, V, O, L});
    context->saved_data["heads"] = heads;
    return O;
  }

  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context,
                                               torch::autograd::tensor_list of_outputs) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor dO = of_outputs[0].contiguous();
    const auto g = softlook::attention_backward(
        rows_of(saved[0]), rows_of(saved[1]), rows_of(saved[2]), rows_of(saved[3]),
        rows_of(saved[4]), rows_of(dO), softlook::masks::causal{},
        softlook::heads{context->saved_data["heads"].toInt()});
    return {tensor_of(g.dQ), tensor_of(g.dK), tensor_of(g.dV), torch::Tensor()};
  }
};

/// n × (heads·d) -> heads × n × d, as PyTorch's own operator wants it.
torch::Tensor by_heads(const torch::Tensor& X, std::int64_t heads) {
  return X.view({X.size(0), heads, X.size(1) / heads}).transpose(0, 1);
}

}  // namespace

int main() {
  constexpr std::int64_t n = 200, heads = 4, d = 32;
  torch::manual_seed(1);
  const auto leaf = [] { return torch::randn({n, heads * d}, torch::requires_grad()); };
  const torch::Tensor Q = leaf(), K = leaf(), V = leaf(), target = torch::randn({n, heads * d});

  const torch::Tensor ours = causal_attention::apply(Q, K, V, heads);
  const auto loss = [&](const torch::Tensor& O) { return (O - target).pow(2).mean(); };
  const auto mine = torch::autograd::grad({loss(ours)}, {Q, K, V});

  const torch::Tensor theirs =
      torch::scaled_dot_product_attention(by_heads(Q, heads), by_heads(K, heads),
                                          by_heads(V, heads), {}, 0.0, /*is_causal=*/true)
          .transpose(0, 1)
          .reshape({n, heads * d});
  const auto other = torch::autograd::grad({loss(theirs)}, {Q, K, V});

  double largest = 0, scale = 0;
  for (std::size_t k = 0; k < 3; ++k) {
    largest = std::max(largest, (mine[k] - other[k]).abs().max().item<double>());
    scale = std::max(scale, other[k].abs().max().item<double>());
  }
  std::cout << "causal attention, " << n << " rows, " << heads << " heads of " << d
            << ": LibTorch's autograd around softlook\n"
            << "largest difference of outputs:   " << (ours - theirs).abs().max().item<double>()
            << '\n'
            << "largest difference of gradients: " << largest << " (largest gradient " << scale
            << ")\n";
  return std::isfinite(largest) && largest <= 1e-5 * scale ? 0 : 1;
}
