// Fine-tuning: the last layer of the sentence encoder goes on learning, on a task that its
// sentences are bad at. "He failed to open the door" and "He never failed to open the door" lie
// close to each other, because they are about the same; which of them says that the door stayed
// closed takes two words together, and a classifier on top of the frozen model sees only their
// mean. The gradient goes through attention, feed-forward and norms of the last layer; the layers
// below it stay as they are, so their rows are computed once.
//
//   fine_tune [--model FOLDER]
//
//   --steps N     of each training (120)
//   --seed N      of the sentences that are drawn (1)
//
// expect: ^frozen model, trained classifier: [678][0-9]\.[0-9] % of 120 unseen sentences$
// expect: ^last layer trained too: +(9[0-9]|100)\.[0-9] % of 120 unseen sentences$
// expect: ^He failed to open .*: cosine 0\.[0-9]+ before, -?0\.[0-9]+ after$

#include <algorithm>
#include <array>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include <softlook/gradient/transformer.hpp>
#include <softlook/inspect.hpp>
#include <softlook/mask/documents.hpp>

#include "encoder.hpp"
#include "examples/support/command_line.hpp"
#include "examples/training/cross_entropy.hpp"
#include "examples/training/optimiser.hpp"
#include "examples/training/progress.hpp"
#include "examples/training/random.hpp"

namespace {

using Eigen::Index;
using minilm::float_matrix;
using minilm::sentence_encoder;
using threads = softlook::exec::thread_pool;

struct arguments {
  std::string model = "build/model";
  std::int64_t steps = 120;
  std::uint64_t seed = 1;
};

bool parse(int argc, char** argv, arguments& a) {
  std::string steps = "120", seed = "1";
  std::vector<std::string> words;
  if (!examples::take_options(
          argc, argv, {{"--model", &a.model}, {"--steps", &steps}, {"--seed", &seed}}, words))
    return false;
  const auto steps_number = examples::number_in<std::int64_t>(steps);
  const auto seed_number = examples::number_in<std::uint64_t>(seed);
  if (!steps_number || !seed_number || !words.empty()) return false;
  a.steps = *steps_number;
  a.seed = *seed_number;
  return a.steps >= 1 && a.steps <= 100'000;
}

struct sentence {
  std::string text;
  std::int32_t denies;
};

/// A subject and an action: "{opened} the door", "{open} the door".
struct action {
  const char* past;
  const char* plain;
  const char* object;
};

constexpr std::array subjects = {"I",          "We",           "She",           "The teacher",
                                 "My brother", "The children", "Our neighbour", "A visitor",
                                 "He",         "The doctor",   "Her friends",   "The old man"};
constexpr std::array actions = {action{"found", "find", "the keys"},
                                action{"read", "read", "the letter"},
                                action{"liked", "like", "the music"},
                                action{"saw", "see", "the film"},
                                action{"cleaned", "clean", "the kitchen"},
                                action{"bought", "buy", "some bread"},
                                action{"answered", "answer", "the question"},
                                action{"drank", "drink", "the coffee"},
                                action{"painted", "paint", "the fence"},
                                action{"sold", "sell", "the car"},
                                action{"opened", "open", "the door"},
                                action{"wrote", "write", "a book"},
                                action{"visited", "visit", "the museum"},
                                action{"fed", "feed", "the cat"},
                                action{"paid", "pay", "the bill"},
                                action{"closed", "close", "the window"}};
constexpr std::size_t known_subjects = 8,
                      known_actions = 10;  // the others are met in the test alone

sentence drawn(bool known, examples::generator& random) {
  const auto from = [&](std::size_t count, std::size_t known_ones) {
    const std::size_t first = known ? 0 : known_ones;
    const std::size_t last = known ? known_ones : count;
    return first + std::size_t(random.below(std::int64_t(last - first)));
  };
  const std::string who = subjects[from(subjects.size(), known_subjects)];
  const action& a = actions[from(actions.size(), known_actions)];
  const std::string what = std::string(" ") + a.object;
  const auto some = [&](const std::string& verb) { return who + " " + verb + what + "."; };
  const std::string plain = a.plain, past = a.past;
  switch (random.below(10)) {
    case 0:
      return {some("did not " + plain), 1};
    case 1:
      return {some("never " + past), 1};
    case 2:
      return {some("failed to " + plain), 1};
    case 3:
      return {some("forgot to " + plain), 1};
    case 4:
      return {some("refused to " + plain), 1};
    case 5:
      return {some(past), 0};
    case 6:
      return {some("did not fail to " + plain), 0};
    case 7:
      return {some("never failed to " + plain), 0};
    case 8:
      return {some("did not forget to " + plain), 0};
    default:
      return {some("never refused to " + plain), 0};
  }
}

/// Sentences behind the frozen layers.
struct data {
  std::vector<float_matrix> rows;
  std::vector<std::int32_t> denies;
};

data behind_frozen_layers(const sentence_encoder& model, const std::vector<sentence>& sentences,
                          const threads& pool) {
  data all;
  for (const sentence& s : sentences) {
    all.rows.push_back(model.rows_behind(model.tokens(s.text), model.layers() - 1, pool));
    all.denies.push_back(s.denies);
  }
  return all;
}

/// logits = mean of a sentence's rows · W + b
struct classifier {
  float_matrix W;
  Eigen::RowVectorXf b;
  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("W", p.W...);
    f("b", p.b...);
  }
};

struct weights {
  softlook::transformer_encoder_layer_parameters<float> layer;
  classifier top;
  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("layer", p.layer...);
    f("top", p.top...);
  }
};

/// Some sentences in one call of the layer, kept apart by a mask.
class batch {
 public:
  batch(const data& all, const std::vector<std::size_t>& chosen) {
    Index rows = 0;
    for (const std::size_t k : chosen) rows += all.rows[k].rows();
    X_.resize(rows, all.rows[0].cols());
    Index at = 0;
    for (const std::size_t k : chosen) {
      const float_matrix& x = all.rows[k];
      X_.middleRows(at, x.rows()) = x;
      ids_.insert(ids_.end(), std::size_t(x.rows()), std::int32_t(begins_.size()));
      begins_.push_back(at);
      at += x.rows();
      labels_.push_back(all.denies[k]);
    }
    begins_.push_back(at);
  }

  /// Of a matrix of all tokens those of one sentence.
  template <class Matrix>
  auto rows_of(Matrix& X, Index s) const {
    const auto k = std::size_t(s);
    return X.middleRows(begins_[k], begins_[k + 1] - begins_[k]);
  }

  /// The loss of the sentences, and where it is wanted its gradient, added up.
  examples::cross_entropy_result loss(const weights& w,
                                      const softlook::transformer_layer_options& how,
                                      weights* gradients, bool through_layer) {
    const softlook::masks::documents mask{std::span<const std::int32_t>(ids_)};
    const float_matrix Y = transformer_encoder_layer_forward(w.layer, how, X_, saved_, mask);
    float_matrix means(Index(labels_.size()), Y.cols());
    for (Index s = 0; s < means.rows(); ++s) means.row(s) = rows_of(Y, s).colwise().mean();
    const float_matrix logits = (means * w.top.W).rowwise() + w.top.b;
    float_matrix d;
    const auto result = examples::cross_entropy(logits, labels_, gradients ? &d : nullptr);
    if (!gradients) return result;
    gradients->top.W += means.transpose() * d;
    gradients->top.b += d.colwise().sum();
    if (!through_layer) return result;
    const float_matrix dmeans = d * w.top.W.transpose();
    float_matrix dY(Y.rows(), Y.cols());
    for (Index s = 0; s < means.rows(); ++s)
      rows_of(dY, s).rowwise() = (dmeans.row(s) / float(rows_of(dY, s).rows())).eval();
    transformer_encoder_layer_backward(w.layer, how, saved_, dY, gradients->layer, mask);
    return result;
  }

 private:
  float_matrix X_;
  std::vector<std::int32_t> ids_, labels_;
  std::vector<Index> begins_;
  softlook::saved_transformer_encoder_layer<float> saved_;
};

/// How many of the sentences are judged rightly, in per cent.
double right(const weights& w, const softlook::transformer_layer_options& how, const data& all) {
  std::vector<std::size_t> every(all.rows.size());
  for (std::size_t k = 0; k < every.size(); ++k) every[k] = k;
  const auto result = batch(all, every).loss(w, how, nullptr, false);
  return 100 * double(result.correct) / double(result.counted);
}

void train(weights& w, const softlook::transformer_layer_options& how, const data& all,
           const arguments& a, bool through_layer) {
  examples::generator random(a.seed + 1);
  examples::adamw<weights> of_all(w, {.weight_decay = 0});
  examples::adamw<classifier> of_top(w.top, {.weight_decay = 0});
  const double highest = through_layer ? 3e-4 : 1e-2;
  const examples::cosine_schedule rate{
      .highest = highest, .warmup = a.steps / 10, .steps = a.steps};
  examples::progress bar(a.steps);
  for (std::int64_t step = 0; step < a.steps; ++step) {
    std::vector<std::size_t> chosen(16);
    for (std::size_t& k : chosen) k = std::size_t(random.below(std::int64_t(all.rows.size())));
    weights g = softlook::zeros_like(w);
    const auto result = batch(all, chosen).loss(w, how, &g, through_layer);
    examples::clip_by_global_norm(g, 1.0);
    if (through_layer)
      of_all.step(w, g, rate(step));
    else
      of_top.step(w.top, g.top, rate(step));
    bar.show(step + 1, result.loss);
  }
}

/// The cosine of the mean rows of two sentences behind the last layer.
float cosine(const weights& w, const softlook::transformer_layer_options& how,
             const sentence_encoder& model, const std::string& a, const std::string& b,
             const threads& pool) {
  const auto mean = [&](const std::string& text) -> Eigen::RowVectorXf {
    softlook::saved_transformer_encoder_layer<float> saved;
    const float_matrix X = model.rows_behind(model.tokens(text), model.layers() - 1, pool);
    return transformer_encoder_layer_forward(w.layer, how, X, saved).colwise().mean().normalized();
  };
  return mean(a).dot(mean(b));
}

void run(const arguments& a) {
  const sentence_encoder model(a.model);
  const threads pool(1);
  examples::generator random(a.seed);
  std::vector<sentence> known, unseen;
  for (int k = 0; k < 240; ++k) known.push_back(drawn(true, random));
  for (int k = 0; k < 120; ++k) unseen.push_back(drawn(false, random));
  const data to_learn = behind_frozen_layers(model, known, pool);
  const data to_judge = behind_frozen_layers(model, unseen, pool);
  const auto how = model.options_of_layer();

  weights first{model.weights_of_layer(model.layers() - 1), {}};
  first.top.W = float_matrix::Zero(model.features(), 2);
  first.top.b = Eigen::RowVectorXf::Zero(2);
  weights frozen = first, tuned = first;
  train(frozen, how, to_learn, a, false);
  tuned.top = frozen.top;
  train(tuned, how, to_learn, a, true);

  std::printf("which sentence denies? learned from 240 sentences like \"%s\"\n",
              known[0].text.c_str());
  std::printf("frozen model, trained classifier: %.1f %% of 120 unseen sentences\n",
              right(frozen, how, to_judge));
  std::printf("last layer trained too:           %.1f %% of 120 unseen sentences\n",
              right(tuned, how, to_judge));
  const std::string failed = "He failed to open the door",
                    never = "He never failed to open the door";
  std::printf("%s / %s: cosine %.2f before, %.2f after\n", failed.c_str(), never.c_str(),
              double(cosine(first, how, model, failed, never, pool)),
              double(cosine(tuned, how, model, failed, never, pool)));
}

}  // namespace

int main(int argc, char** argv) {
  arguments a;
  if (!parse(argc, argv, a)) {
    std::cerr << "usage: fine_tune [--model FOLDER] [--steps N] [--seed N]\n";
    return 2;
  }
  try {
    run(a);
  } catch (const std::exception& e) {
    std::cerr << "fine_tune: " << softlook::inspect::printable(e.what()) << '\n';
    return 1;
  }
}
