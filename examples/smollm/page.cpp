#include "page.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

namespace smollm {
namespace {

using Eigen::Index;
using softlook::inspect::long_map;

/// Keys of each token that a long map keeps, tokens in a piece, and pixels of a side at most.
constexpr Index kept_keys = 8, piece = 64, most_pixels = 128;

/// What a long map is made of.
struct head_looks {
  Eigen::MatrixXf sums;  // of the weights of each pixel
  Eigen::Matrix<std::int32_t, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> keys;
  float_matrix weights;
  Eigen::VectorXf entropies;  // of each token, in nats
};

/// The pixel of each of `count` rows, of `pixels`: r has those from ⌊r·count/pixels⌋ on.
std::vector<Index> pixels_of(Index count, Index pixels) {
  std::vector<Index> of(static_cast<std::size_t>(count));
  for (Index r = 0; r < pixels; ++r)
    for (Index i = r * count / pixels; i < (r + 1) * count / pixels; ++i)
      of[static_cast<std::size_t>(i)] = r;
  return of;
}

/// Row i of the answer looks at keys by these weights.
void add_row(head_looks& to, Index i, const Eigen::RowVectorXf& weights, Index pixel,
             const std::vector<Index>& pixel_of_key) {
  for (Index j = 0; j < weights.size(); ++j) {
    const float w = weights[j];
    to.sums(pixel, pixel_of_key[static_cast<std::size_t>(j)]) += w;
    if (w > 0) to.entropies[i] -= w * std::log(w);
    Index at = kept_keys;
    for (; at > 0 && to.weights(i, at - 1) < w; --at)
      if (at < kept_keys) {
        to.weights(i, at) = to.weights(i, at - 1);
        to.keys(i, at) = to.keys(i, at - 1);
      }
    if (at == kept_keys) continue;
    to.weights(i, at) = w;
    to.keys(i, at) = static_cast<std::int32_t>(j);
  }
}

std::vector<std::vector<long_map>> long_looks(const language_model& model, const conversation& c,
                                              Index count, Index keys) {
  const Index rows = std::min(count, most_pixels), cols = std::min(keys, most_pixels);
  const std::vector<Index> pixel_of_query = pixels_of(count, rows);
  const std::vector<Index> pixel_of_key = pixels_of(keys, cols);
  head_looks empty;
  empty.sums.setZero(rows, cols);
  empty.keys.setConstant(count, kept_keys, -1);
  empty.weights.setZero(count, kept_keys);
  empty.entropies.setZero(count);
  std::vector<head_looks> all(static_cast<std::size_t>(model.layers() * model.heads()), empty);
  for (Index first = 0; first < count; first += piece) {
    const Index last = std::min(first + piece, count);
    const auto looks =
        c.looks(static_cast<std::size_t>(first), static_cast<std::size_t>(last - first));
    auto to = all.begin();
    for (const auto& layer : looks)
      for (const float_matrix& head : layer) {
        for (Index i = first; i < last; ++i)
          add_row(*to, i, head.row(i - first), pixel_of_query[static_cast<std::size_t>(i)],
                  pixel_of_key);
        ++to;
      }
  }
  std::vector<std::vector<long_map>> maps(static_cast<std::size_t>(model.layers()));
  auto from = all.begin();
  for (auto& layer : maps)
    for (Index h = 0; h < model.heads(); ++h, ++from) {
      for (Index r = 0; r < rows; ++r)
        for (Index k = 0; k < cols; ++k)
          from->sums(r, k) /= static_cast<float>(((r + 1) * count / rows - r * count / rows) *
                                                 ((k + 1) * keys / cols - k * keys / cols));
      layer.emplace_back(keys, from->sums, *from).entropies(from->entropies);
    }
  return maps;
}

}  // namespace

std::vector<std::string> names_of(const language_model& model, const conversation& c,
                                  std::size_t begin, std::size_t end) {
  std::vector<std::string> names;
  for (std::size_t k = begin; k < end; ++k) {
    std::string text = model.tokenizer().bytes(c.tokens()[k]);
    if (text.size() > 1 && text[0] == ' ') text.erase(0, 1);
    if (text == " ") text = "␣";
    if (text == "\n") text = "⏎";
    names.push_back(std::move(text));
  }
  return names;
}

softlook::inspect::report looks_of_answer(const language_model& model, const conversation& c,
                                          const std::string& title, Index most) {
  const std::size_t begin = c.answer_begin(), tokens = c.answer_size();
  const auto count = static_cast<Index>(tokens), keys = static_cast<Index>(begin + tokens) - 1;
  // A head of the middle that often looks back at what it writes about.
  const softlook::inspect::report_style how{.title = title,
                                            .layer = std::min<Index>(11, model.layers() - 1),
                                            .head = std::min<Index>(1, model.heads() - 1)};
  const auto queries = names_of(model, c, begin, begin + tokens);
  const auto seen = names_of(model, c, 0, begin + tokens - 1);
  if (count * keys <= most)
    return softlook::inspect::report(c.looks(0, tokens), queries, seen, how);
  return softlook::inspect::report(long_looks(model, c, count, keys), queries, seen, how);
}

}  // namespace smollm
