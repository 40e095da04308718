// A batch as Keras and JAX keep it, (batch, rows, heads, features), attended in place: nothing is
// copied.
//
// Run: keras_tensor
//
// expect: one sequence of the batch: 0 differences
#include <cstdio>
#include <softlook/attention.hpp>
#include <softlook/eigen_tensor.hpp>
#include <unsupported/Eigen/CXX11/Tensor>

int main() {
  using tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;
  tensor Q(2, 10, 4, 16), K(2, 30, 2, 16), V(2, 30, 2, 16),
      O(2, 10, 4, 16);  // 4 query heads, 2 of keys
  Q.setRandom(), K.setRandom(), V.setRandom();
  constexpr auto order = softlook::tensor_order::sequence_row_head_feature;
  softlook::attention_into(view_of(std::as_const(Q), order), view_of(std::as_const(K), order),
                           view_of(std::as_const(V), order), view_of(O, order));

  // Each sequence is what attention() of its packed matrices gives.
  using packed = Eigen::Map<Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;
  const packed q(Q.data() + 640, 10, 64), k(K.data() + 960, 30, 32), v(V.data() + 960, 30, 32);
  const packed o(O.data() + 640, 10, 64);
  const auto own = softlook::attention(q, k, v, softlook::heads{.query = 4, .kv = 2});
  std::printf("one sequence of the batch: %ld differences\n",
              long((o.array() != own.array()).count()));
}
