#include "examples/characters/training.hpp"

#include <cmath>

#include "examples/training/cross_entropy.hpp"

namespace characters {

training::training(const sizes& s, examples::generator& random)
    : heads_(s.heads),
      weights_(first_weights<float>(s, random)),
      optimiser_(weights_, {.beta2 = 0.99}),
      gradients_(softlook::zeros_like(weights_)) {}

double training::forward(const batch& b,
                         softlook::token_embedding_parameters<float>::matrix* dlogits) {
  const softlook::options memory{.workspace = &workspace_};
  const auto& logits = characters::forward(weights_, heads_, std::span<const std::int32_t>(b.text),
                                           b.length, saved_, memory);
  return examples::cross_entropy(logits, b.wanted, dlogits).loss;
}

double training::step(const batch& b, double rate) {
  constexpr double longest_gradient = 1;
  softlook::for_each_parameter([](const std::string&, auto& g) { g.setZero(); }, gradients_);
  const double loss = forward(b, &dlogits_);
  characters::backward(weights_, heads_, b.length, saved_, dlogits_, gradients_,
                       softlook::options{.workspace = &workspace_});
  examples::clip_by_global_norm(gradients_, longest_gradient);
  optimiser_.step(weights_, gradients_, rate);
  return loss;
}

double training::held_out_loss(const corpus& c) {
  batch b;
  double sum = 0;
  std::int64_t pieces = 0;
  for (std::size_t at = c.learned(); at + std::size_t(b.length) < c.ids.size();
       at += std::size_t(b.length), ++pieces) {
    b.clear();
    b.add(c.ids, at);
    sum += forward(b, nullptr);
  }
  return sum / double(pieces);
}

std::string written(const weights& p, index heads, const corpus& c, std::string_view beginning,
                    int count, index length, double temperature, examples::generator& random) {
  std::vector<softlook::transformer_encoder_layer<float>> layers;
  for (const auto& layer : p.stack.layers) layers.emplace_back(layer, options_of(heads));
  const softlook::causal_transformer<float> model(
      std::move(layers),
      softlook::layer_norm<float>(p.stack.final_norm.gain, p.stack.final_norm.bias));
  auto seen = model.start();
  std::vector<std::int32_t> ids = c.ids_of(beginning);
  std::string text;
  std::size_t fed = 0;
  for (int k = 0; k < count; ++k) {
    softlook::token_embedding_parameters<float>::matrix X(index(ids.size() - fed),
                                                          p.embedding.tokens.cols());
    for (index i = 0; i < X.rows(); ++i)
      X.row(i) = p.embedding.tokens.row(ids[fed + std::size_t(i)]);
    fed = ids.size();
    const auto Y = model.step(X, seen, softlook::masks::window{.left = length - 1});
    const Eigen::RowVectorXd logits =
        (Y.row(Y.rows() - 1) * p.output.W + p.output.b).template cast<double>() / temperature;
    double left = random.uniform() * (logits.array() - logits.maxCoeff()).exp().sum();
    index next = 0;
    for (; next + 1 < logits.size(); ++next) {
      left -= std::exp(logits[next] - logits.maxCoeff());
      if (left < 0) break;
    }
    ids.push_back(std::int32_t(next));
    text += c.known[std::size_t(next)];
  }
  return text;
}

}  // namespace characters
