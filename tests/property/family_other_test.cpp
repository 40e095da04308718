// The properties of attention that is not softmax over all keys: chosen, local, monotonic, by
// location and position, sparse softmax, linear; and of the decoders.
#include <gtest/gtest.h>

#include "softlook/attention/entmax.hpp"
#include "softlook/attention/hard.hpp"
#include "softlook/attention/linformer.hpp"
#include "softlook/attention/local.hpp"
#include "softlook/attention/location.hpp"
#include "softlook/attention/monotonic.hpp"
#include "softlook/attention/nystrom.hpp"
#include "softlook/attention/positional.hpp"
#include "softlook/linear.hpp"
#include "softlook/linear/random_features.hpp"
#include "softlook/seq2seq/bahdanau_attention.hpp"
#include "softlook/seq2seq/location_aware_attention.hpp"
#include "softlook/seq2seq/luong_attention.hpp"
#include "tests/property/family.hpp"

namespace softlook_test::family {
namespace {

/// Of variants whose positions matter.
struct positioned : variant {
  static constexpr bool queries_are_equal = false;
  static constexpr bool keys_are_equal = false;
  static constexpr bool tiles = false;
};

struct hard : variant {
  static constexpr auto name = "hard";
  static constexpr bool tiles = false;
  static matrix output(const inputs& in, const how& h) {
    return softlook::hard_attention(in.Q, in.K, in.V, softlook::selections::argmax{}, h.mask,
                                    h.opts)
        .output;
  }
};
struct hard_sampled : positioned {
  static constexpr auto name = "hard_sampled";
  static matrix output(const inputs& in, const how& h) {
    return softlook::hard_attention(in.Q, in.K, in.V, softlook::selections::sample{.seed = 4},
                                    h.mask, h.opts)
        .output;
  }
};

template <int TenthsOfAlpha>
struct entmax : variant {
  static constexpr double alpha = TenthsOfAlpha / 10.0;
  static constexpr bool tiles = false;
  static constexpr double steepness = 4;  // weights may be as steep as the scores themselves
  static matrix output(const inputs& in, const how& h) {
    return softlook::entmax_attention(in.Q, in.K, in.V, alpha, h.mask, h.opts);
  }
  static matrix weights(const inputs& in, const how& h) {
    return softlook::entmax_attention_weights(in.Q, in.K, alpha, h.mask, h.opts);
  }
};
struct entmax15 : entmax<15> {
  static constexpr auto name = "entmax15";
};
struct sparsemax : entmax<20> {
  static constexpr auto name = "sparsemax";
};

struct local_m : positioned {
  static constexpr auto name = "local_m";
  static constexpr bool as_many_keys = true;  // no window is empty
  static constexpr bool tiles = true;
  static constexpr softlook::alignments::monotonic window{.window = 4};
  static matrix output(const inputs& in, const how& h) {
    return softlook::local_attention(in.Q, in.K, in.V, window, h.mask, h.opts);
  }
  static matrix weights(const inputs& in, const how& h) {
    return softlook::local_attention_weights(in.Q, in.K, window, h.mask, h.opts);
  }
};
struct local_p : positioned {
  static constexpr auto name = "local_p";
  static constexpr bool queries_are_equal = true;
  static constexpr bool whole_rows = false;
  static constexpr bool tiles = true;
  static constexpr double steepness = 4;  // the predicted positions are off as well
  static auto alignment() {
    return softlook::alignments::predictive(learned(8, 5), learned(5, 1).col(0), 3);
  }
  static matrix output(const inputs& in, const how& h) {
    return softlook::local_attention(in.Q, in.K, in.V, alignment(), h.mask, h.opts).output;
  }
  static matrix weights(const inputs& in, const how& h) {
    return softlook::local_attention_weights(in.Q, in.K, alignment(), h.mask, h.opts);
  }
};

inline constexpr softlook::heads four{.query = 4};

struct local_m_heads : positioned {
  static constexpr auto name = "local_m_heads";
  static constexpr bool as_many_keys = true;
  static constexpr bool tiles = true;
  static matrix output(const inputs& in, const how& h) {
    return softlook::local_attention(in.Q, in.K, in.V, local_m::window, four, h.mask, h.opts);
  }
};
struct local_p_heads : positioned {
  static constexpr auto name = "local_p_heads";
  static constexpr bool queries_are_equal = true;
  static constexpr bool whole_rows = false;
  static constexpr bool tiles = true;
  static constexpr double steepness = 4;
  static matrix output(const inputs& in, const how& h) {
    const softlook::alignments::predictive alignment(learned(2, 5), learned(5, 1).col(0), 3);
    return softlook::local_attention(in.Q, in.K, in.V, alignment, four, h.mask, h.opts).output;
  }
};

template <softlook::monotonic_form Form>
struct monotonic : positioned {
  static constexpr bool whole_rows = false;
  static constexpr double steepness = 4;  // a row goes on from the errors of the one before
  static auto result(const inputs& in, const how& h) {
    return softlook::monotonic_attention(
        in.Q, in.K, in.V, {Form}, softlook::monotonic_start<float>(in.K.rows()), h.mask, h.opts);
  }
  static matrix output(const inputs& in, const how& h) { return result(in, h).output; }
  static matrix weights(const inputs& in, const how& h) { return result(in, h).weights; }
};
struct monotonic_recursive : monotonic<softlook::monotonic_form::recursive> {
  static constexpr auto name = "monotonic_recursive";
};
struct monotonic_parallel : monotonic<softlook::monotonic_form::parallel> {
  static constexpr auto name = "monotonic_parallel";
};
struct monotonic_hard : monotonic<softlook::monotonic_form::hard> {
  static constexpr auto name = "monotonic_hard";
};

template <softlook::monotonic_form Form>
struct monotonic_in_heads : positioned {
  static constexpr bool whole_rows = false;
  static constexpr double steepness = 4;
  static matrix output(const inputs& in, const how& h) {
    return softlook::monotonic_attention(in.Q, in.K, in.V, {Form},
                                         softlook::monotonic_start<float>(in.K.rows(), 4), four,
                                         h.mask, h.opts)
        .output;
  }
};
struct monotonic_heads : monotonic_in_heads<softlook::monotonic_form::recursive> {
  static constexpr auto name = "monotonic_heads";
};
struct monotonic_hard_heads : monotonic_in_heads<softlook::monotonic_form::hard> {
  static constexpr auto name = "monotonic_hard_heads";
};

struct by_location : positioned {
  static constexpr auto name = "by_location";
  static constexpr bool queries_are_equal = true;
  static constexpr bool tiles = true;
  static matrix output(const inputs& in, const how& h) {
    return softlook::location_attention(in.Q, learned(8, 200), in.V, h.mask, h.opts);
  }
  static matrix weights(const inputs& in, const how& h) {
    return softlook::location_attention_weights(in.Q, learned(8, 200), in.K.rows(), h.mask, h.opts);
  }
};

struct by_location_heads : positioned {
  static constexpr auto name = "by_location_heads";
  static constexpr bool queries_are_equal = true;
  static constexpr bool tiles = true;
  static matrix output(const inputs& in, const how& h) {
    return softlook::location_attention(in.Q, learned(8, 200), in.V, four, h.mask, h.opts);
  }
};

/// One step for each query, which sees the sum of the weights before.
struct coverage : positioned {
  static constexpr auto name = "coverage";
  static constexpr bool keys_are_equal = true;
  static constexpr bool takes_masks = false;  // a step has one row
  static constexpr double steepness = 4;
  static softlook::decoder_step<float> steps(const inputs& in, const how& h) {
    softlook::coverage_attention<float> attention(
        {learned(8, 6), learned(8, 6, 1), learned(6, 1).col(0), learned(6, 1, 1).col(0), {}});
    attention.set_memory(in.K, in.V);
    Eigen::Matrix<float, 1, Eigen::Dynamic> covered;
    covered.setZero(in.K.rows());
    softlook::decoder_step<float> all{matrix(in.Q.rows(), in.V.cols()),
                                      matrix(in.Q.rows(), in.K.rows())};
    for (index i = 0; i < in.Q.rows(); ++i) {
      const auto step = attention.step(in.Q.row(i), covered, h.opts);
      all.context.row(i) = step.context;
      all.weights.row(i) = step.weights;
      covered += step.weights;
    }
    return all;
  }
  static matrix output(const inputs& in, const how& h) { return steps(in, h).context; }
  static matrix weights(const inputs& in, const how& h) { return steps(in, h).weights; }
};

struct positional : positioned {
  static constexpr auto name = "positional";
  static constexpr bool as_many_keys = true;
  static constexpr bool tiles = true;
  static matrix output(const inputs& in, const how& h) {
    return softlook::positional_attention(softlook::position_logits{learned(150, 150)}, in.V,
                                          h.mask, h.opts);
  }
  static matrix weights(const inputs& in, const how& h) {
    return softlook::positional_attention_weights(softlook::position_logits{learned(150, 150)},
                                                  in.V.rows(), h.mask, h.opts);
  }
};
struct positional_factorized : positioned {
  static constexpr auto name = "positional_factorized";
  static constexpr bool as_many_keys = true;
  static constexpr bool tiles = true;
  static auto factors() { return softlook::position_factors{learned(150, 4), learned(150, 4, 1)}; }
  static matrix output(const inputs& in, const how& h) {
    return softlook::positional_attention(factors(), in.V, h.mask, h.opts);
  }
  static matrix weights(const inputs& in, const how& h) {
    return softlook::positional_attention_weights(factors(), in.V.rows(), h.mask, h.opts);
  }
};

/// Linear attention, causal where the suite hides the future.
template <class... Policies>
struct linear_by : variant {
  static constexpr bool tiles = false;
  static matrix output(const inputs& in, const how& h) {
    if (h.causal) return softlook::causal_linear_attention(in.Q, in.K, in.V, Policies{}..., h.opts);
    return softlook::linear_attention(in.Q, in.K, in.V, Policies{}..., h.opts);
  }
};
struct linear_elu : linear_by<> {
  static constexpr auto name = "linear_elu";
};
struct linear_relu : linear_by<softlook::features::relu> {
  static constexpr auto name = "linear_relu";
  static constexpr bool whole_rows = false;  // a query may meet no key
};
struct performer : variant {
  static constexpr auto name = "performer";
  static constexpr bool tiles = false;
  static constexpr double steepness = 4;
  static matrix output(const inputs& in, const how& h) {
    static const softlook::random_features<float> phi(features, {.features = 32, .seed = 3});
    if (h.causal) return softlook::causal_linear_attention(in.Q, in.K, in.V, phi, h.opts);
    return softlook::linear_attention(in.Q, in.K, in.V, phi, h.opts);
  }
};
/// Always causal: what the suite asks of masks alone.
struct delta_rule : positioned {
  static constexpr auto name = "delta_rule";
  static constexpr bool averages = false;
  static constexpr double steepness = 64;  // the sums have terms of all signs
  static matrix output(const inputs& in, const how& h) {
    static const matrix rates = matrix::Constant(256, 1, 0.05f);
    const auto beta = rates.topRows(in.K.rows());
    return softlook::fast_weights(in.Q, in.K, in.V, softlook::updates::delta{beta}, h.opts);
  }
  static constexpr bool as_many_keys = true;
};
struct retention : positioned {
  static constexpr auto name = "retention";
  static constexpr bool averages = false;
  static constexpr double steepness = 64;
  static constexpr bool as_many_keys = true;
  static matrix output(const inputs& in, const how& h) {
    static const auto decays = softlook::retention_decays<float>(1);
    return softlook::fast_weights(in.Q, in.K, in.V, softlook::gates::decay{decays},
                                  softlook::normalizations::retention{}, h.opts);
  }
};

/// Keys and values are mixed along the sequence, by weights of any sign.
struct linformer : positioned {
  static constexpr auto name = "linformer";
  static constexpr bool queries_are_equal = true;
  static constexpr bool takes_masks = false;
  static constexpr bool averages = false;
  static constexpr bool tiles = true;
  static constexpr double steepness = 4;
  static matrix output(const inputs& in, const how& h) {
    const index m = in.K.rows();
    return softlook::linformer_attention(in.Q, in.K, in.V, learned(12, 150).leftCols(m),
                                         learned(12, 150, 1).leftCols(m), h.opts);
  }
};
/// Segments of queries and keys have landmarks.
struct nystrom : positioned {
  static constexpr auto name = "nystrom";
  static constexpr bool takes_masks = false;
  static constexpr bool averages = false;
  static constexpr double steepness = 64;  // a pseudo-inverse
  static matrix output(const inputs& in, const how& h) {
    return softlook::nystrom_attention(in.Q, in.K, in.V, {.landmarks = 8}, h.opts);
  }
};

template <class Make>
struct decoder : variant {
  static constexpr bool tiles = false;
  static softlook::decoder_step<float> step(const inputs& in, const how& h) {
    auto attention = Make{}();
    attention.set_memory(in.K, in.V);
    return attention.step(in.Q, h.mask, h.opts);
  }
  static matrix output(const inputs& in, const how& h) { return step(in, h).context; }
  static matrix weights(const inputs& in, const how& h) { return step(in, h).weights; }
};
using bahdanau_parameters = decltype([] {
  const auto Wq = learned(8, 6), Wk = learned(8, 6, 1), v = learned(6, 1);
  return softlook::bahdanau_attention<float>(softlook::scores::additive{Wq, Wk, v.col(0)});
});
using luong_parameters = decltype([] {
  const auto W = learned(8, 8);
  return softlook::luong_attention<float>(softlook::scores::general{W});
});
struct bahdanau_decoder : decoder<bahdanau_parameters> {
  static constexpr auto name = "bahdanau_decoder";
};
struct luong_decoder : decoder<luong_parameters> {
  static constexpr auto name = "luong_decoder";
};

/// Q, K and V are one sequence.
struct linear_on_itself : linear_by<> {
  static constexpr auto name = "linear_on_itself";
  static constexpr bool self_attention = true;
  static constexpr bool linear_in_values = false;
};

using variants =
    ::testing::Types<hard, hard_sampled, entmax15, sparsemax, local_m, local_p, local_m_heads,
                     local_p_heads, monotonic_recursive, monotonic_parallel, monotonic_hard,
                     monotonic_heads, monotonic_hard_heads, by_location, by_location_heads,
                     coverage, positional, positional_factorized, linear_elu, linear_relu,
                     performer, delta_rule, retention, linformer, nystrom, bahdanau_decoder,
                     luong_decoder, linear_on_itself>;

}  // namespace
}  // namespace softlook_test::family

#include "tests/property/family.inl"
