// An attention that learns which word is meant: the weights W of the score q W kᵀ start at zero, where
// every query looks at all keys alike, and follow the gradient that attention_backward_into() gives.
// README.md shows this program.
//
// expect: step 0, loss 1
// expect: step 40, loss 0\.00
// expect: aime +0\.0. +██ 0\.9

#include <iostream>
#include <softlook/gradients.hpp>
#include <softlook/softlook.hpp>

int main() {
  const Eigen::Matrix3f Q = Eigen::Matrix3f::Identity();  // je, t', aime
  const Eigen::Matrix3f K = Q, V = Q;                     // I, love, you
  Eigen::Matrix3f Y, W = Eigen::Matrix3f::Zero();         // what is meant; what is learned
  Y << 1, 0, 0,    0, 0, 1,    0, 1, 0;

  for (int step = 0; step <= 40; ++step) {
    const softlook::scores::general score(W);  // s = q W kᵀ
    const auto [O, L] = softlook::attention_with_log_sum_exp(Q, K, V, score);
    const Eigen::Matrix3f dO = O - Y;  // of the loss ½ ‖O − Y‖²
    if (step % 20 == 0) {
      const softlook::inspect::heat_map map(softlook::attention_weights(Q, K, score),
                                            {"je", "t'", "aime"}, {"I", "love", "you"});
      std::cout << "step " << step << ", loss " << dO.squaredNorm() / 2 << '\n' << to_text(map);
    }
    Eigen::Matrix3f dW = Eigen::Matrix3f::Zero();
    softlook::backward_extras<float> extras;
    extras.weights.W = dW;
    softlook::attention_gradients<Eigen::MatrixXf> inputs;
    softlook::attention_backward_into(Q, K, V, O, L, dO, inputs, extras, score);
    W -= 4 * dW;
  }
}
