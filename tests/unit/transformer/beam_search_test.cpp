// Beam search over a Transformer's decoder: hypotheses share the keys of what they have in common.
#include "softlook/seq2seq/beam_search.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "softlook/transformer/decoder.hpp"
#include "tests/support/decoders.hpp"

namespace softlook::beam_search_test {
namespace {

using namespace softlook_test;
using matrix = row_major<float>;
using cache_type = transformer_decoder_cache<float>;

/// One cache for each sentence.
struct caches_of_beam {
  std::vector<cache_type> caches;
  void select(std::span<const index> rows) {
    std::vector<cache_type> kept;
    for (const index row : rows) kept.push_back(caches[std::size_t(row)]);
    caches = std::move(kept);
  }
};
/// The tokens of each sentence, from which everything is computed again.
struct tokens_of_beam {
  std::vector<std::vector<index>> tokens{{}};
  void select(std::span<const index> rows) {
    std::vector<std::vector<index>> kept;
    for (const index row : rows) kept.push_back(tokens[std::size_t(row)]);
    tokens = std::move(kept);
  }
};

class BeamOfADecoder : public ::testing::Test {
 protected:
  static constexpr index features = 24, vocabulary = 11, layers = 2, page_rows = 128;
  generator random = seed(902);
  const matrix tokens = random_matrix<matrix>(vocabulary, features, random);
  const matrix places = random_matrix<matrix>(40, features, random);

  transformer_decoder<float> decoder(bool extra_keys) {
    std::vector<transformer_decoder_layer<float>> all;
    for (index l = 0; l < layers; ++l) {
      auto p = random_decoder_layer<float>({}, random);
      if (extra_keys) {
        p.self_attention.add_zero_attn = p.cross_attention.add_zero_attn = true;
        p.cross_attention.bias_k = p.cross_attention.bias_v = rows(1);
      }
      all.emplace_back(p, transformer_layer_options{.heads = {.query = 4}});
    }
    return transformer_decoder<float>(all);
  }
  matrix rows(index count) { return random_matrix<matrix>(count, features, random); }
  matrix embedded(index token, index position) const {
    return tokens.row(token) + places.row(position);
  }
  matrix logits_of(const matrix& y) const { return y * tokens.transpose(); }
  /// What one sentence holds: of each layer pages of keys and of values.
  static index pages_of(index count) { return layers * 2 * ((count + page_rows - 1) / page_rows); }
};

TEST_F(BeamOfADecoder, ForksCopyNoPageButTheOneTheyWriteInto) {
  for (const bool extra_keys : {false, true}) {
    SCOPED_TRACE(extra_keys ? "with keys of the layers' own" : "plain");
    const auto made = decoder(extra_keys);
    const index own = extra_keys ? 1 : 0, of_memory = extra_keys ? 2 : 0;
    auto cache = made.start(rows(300));
    (void)made.step(rows(200), cache);
    EXPECT_EQ(cache.pages(), pages_of(200 + own) + pages_of(300 + of_memory));
    EXPECT_EQ(cache.bytes(), std::size_t(cache.pages() * page_rows * features) * sizeof(float));
    EXPECT_EQ(cache.shared_pages(), 0);

    caches_of_beam beam{{cache}};
    const index origins[] = {0, 0, 0, 0};
    beam.select(origins);
    for (const cache_type& c : beam.caches) EXPECT_EQ(c.shared_pages(), cache.pages());
    // Nothing new: nothing written.
    for (cache_type& c : beam.caches) (void)made.step(rows(0), c);
    EXPECT_EQ(cache.shared_pages(), cache.pages());
    // The last page of the target, of keys and of values, is copied by each; the memory by none.
    for (int step = 0; step < 3; ++step) {
      for (cache_type& c : beam.caches) (void)made.step(rows(1), c);
      for (const cache_type& c : beam.caches) EXPECT_EQ(c.shared_pages(), c.pages() - 2 * layers);
    }
    // A sentence that goes on alone goes on in its pages.
    const index one[] = {2};
    beam.select(one);
    (void)made.step(rows(1), beam.caches[0]);
    EXPECT_EQ(beam.caches[0].shared_pages(), cache.pages() - 2 * layers);
  }
}

TEST_F(BeamOfADecoder, ForksAtTheEndOfAPageCopyNothing) {
  const auto made = decoder(false);
  auto cache = made.start(rows(10));
  (void)made.step(rows(256), cache);
  auto fork = cache;
  (void)made.step(rows(1), fork);
  EXPECT_EQ(cache.shared_pages(), cache.pages());
  EXPECT_EQ(fork.pages(), cache.pages() + 2 * layers);
  EXPECT_EQ(fork.shared_pages(), cache.pages());
}

TEST_F(BeamOfADecoder, FindsWhatASearchWithoutCachesFinds) {
  // The bits of steps are those of the whole where the kernel is pinned.
  const options opts{.kernel = kernel::tiled};
  const search_options how{.begin = 0, .end = 3, .maximum_length = 12, .beam = 5};
  for (const bool extra_keys : {false, true}) {
    const auto made = decoder(extra_keys);
    const matrix memory = rows(30);
    const auto with_caches = [&](std::span<const index> last, caches_of_beam& beam) {
      matrix logits(index(last.size()), vocabulary);
      for (std::size_t s = 0; s < last.size(); ++s) {
        const index position = beam.caches[s].rows();
        logits.row(index(s)) =
            logits_of(made.step(embedded(last[s], position), beam.caches[s], opts));
      }
      return logits;
    };
    const auto from_scratch = [&](std::span<const index> last, tokens_of_beam& beam) {
      matrix logits(index(last.size()), vocabulary);
      for (std::size_t s = 0; s < last.size(); ++s) {
        auto& sentence = beam.tokens[s];
        sentence.push_back(last[s]);
        matrix X(index(sentence.size()), features);
        for (index i = 0; i < X.rows(); ++i) X.row(i) = embedded(sentence[std::size_t(i)], i);
        const matrix Y = made(X, memory, for_target(masks::causal_top_left{}), opts);
        logits.row(index(s)) = logits_of(Y.bottomRows(1));
      }
      return logits;
    };
    const auto found = beam_search(caches_of_beam{{made.start(memory)}}, with_caches, how);
    const auto expected = beam_search(tokens_of_beam{}, from_scratch, how);
    ASSERT_EQ(found.size(), expected.size());
    ASSERT_EQ(found.size(), 5u);
    for (std::size_t k = 0; k < found.size(); ++k) {
      EXPECT_EQ(found[k].tokens, expected[k].tokens) << k;
      EXPECT_EQ(found[k].log_probability, expected[k].log_probability) << k;
    }
  }
}

}  // namespace
}  // namespace softlook::beam_search_test
