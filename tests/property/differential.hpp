// Randomised differential test: shape × score × transforms × mask × storage × heads, every
// instruction set, against the oracle with the differential tolerance. Policies are erased, so that
// the combinations are chosen at run time and cost one instantiation of the kernels.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "softlook/engine/call/policies.hpp"
#include "softlook/layer/multi_head.hpp"
#include "tests/oracle/multi_head.hpp"
#include "tests/support/bounds.hpp"
#include "tests/support/cases.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/erased.hpp"
#include "tests/support/storage.hpp"
#include "tests/support/ways.hpp"

namespace softlook_test {

/// A matrix in one of several storages behind one type: row- or column-major, with gaps or without.
template <class T>
class stored_matrix {
 public:
  stored_matrix() = default;
  stored_matrix(const row_major<T>& values, choices& random)
      : rows_(values.rows()), cols_(values.cols()) {
    const Eigen::Index gap = random.chance(0.5) ? 0 : random.integer(1, 5);
    const Eigen::Index step = random.chance(0.8) ? 1 : 2;
    by_rows_ = random.chance(0.6);
    inner_ = step;
    outer_ = step * (by_rows_ ? cols_ : rows_) + gap;
    buffer_ = column<T>::Constant(outer_ * (by_rows_ ? rows_ : cols_) + 1,
                                  std::numeric_limits<T>::quiet_NaN());
    auto target = view();
    for (Eigen::Index i = 0; i < rows_; ++i)
      for (Eigen::Index j = 0; j < cols_; ++j) target(i, j) = values(i, j);
  }

  strided_map<T> view() {
    return {buffer_.data(), rows_, cols_,
            Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>(by_rows_ ? outer_ : inner_,
                                                          by_rows_ ? inner_ : outer_)};
  }
  std::string name() const {
    return std::string(by_rows_ ? "rows" : "columns") + " stride " + std::to_string(outer_) +
           " step " + std::to_string(inner_);
  }

 private:
  Eigen::Index rows_ = 0, cols_ = 0, inner_ = 1, outer_ = 1;
  bool by_rows_ = true;
  column<T> buffer_;
};

/// One random combination; everything follows from the choices. Sizes are up to a part of the usual
/// ones.
template <class T>
class random_case {
 public:
  explicit random_case(choices& random, Eigen::Index part = 1) : random_(random), part_(part) {
    choose_sizes();
    choose_score();
    choose_inputs();
    choose_transforms();
    choose_mask();
  }

  std::string description() const { return about_.str(); }

  /// Computes the case in every way and compares.
  void check() {
    if (additive_)
      check_with(any_score<T, true>{score_.get()});
    else
      check_with(any_score<T, false>{score_.get()});
  }

 private:
  template <class Score>
  void check_with(const Score& score) {
    const any_mask mask{mask_.get()};
    if (transform_)
      check_ways(score, mask, any_transform{transform_.get()});
    else
      check_ways(score, mask);
  }

  void choose_sizes() {
    small_tiles_ = random_.chance(0.5);
    const auto up_to = [&](Eigen::Index most) { return random_.size(most, 12); };
    n_ = up_to((small_tiles_ ? 60 : 130) / part_);
    m_ = up_to((small_tiles_ ? 70 : 330) / part_);
    d_ = up_to(24);
    e_ = up_to(24);
    if (random_.chance(0.25)) {  // whole vectors, read in place by the few-query kernel
      d_ = 16 * random_.integer(1, 6);
      e_ = 16 * random_.integer(1, 10);
    }
    if (random_.chance(0.08 / double(part_))) {  // several chunks of the few-query kernel
      n_ = random_.integer(1, 3);
      m_ = random_.integer(400, 2600);
    } else if (random_.chance(0.3)) {
      kv_heads_ = random_.integer(1, 2);
      query_heads_ = kv_heads_ * random_.integer(1, 3);
      n_ = std::min<Eigen::Index>(n_, 40);
      m_ = std::min<Eigen::Index>(m_, 120);
    }
    about_ << "n " << n_ << " m " << m_ << " d " << d_ << " e " << e_ << ", heads " << query_heads_
           << "/" << kv_heads_ << (small_tiles_ ? ", smallest tiles" : "");
  }

  row_major<T> matrix(Eigen::Index rows, Eigen::Index cols, double magnitude) {
    generator numbers = random_.numbers();
    return random_matrix<row_major<T>>(rows, cols, numbers, magnitude);
  }

  template <class Score>
  void take_score(const char* name, Score score) {
    score_ = hold_score<T>(std::move(score));
    about_ << ", " << name;
  }

  void choose_score() {
    namespace scores = softlook::scores;
    dk_ = d_;
    const Eigen::Index a = random_.integer(1, 12);
    additive_ = random_.chance(0.3);
    if (additive_) {  // tanh in long double is slow: fewer pairs
      n_ = std::min<Eigen::Index>(n_, 60);
      m_ = std::min<Eigen::Index>(m_, n_ <= 3 ? 1300 : 160);
      about_ << " (n " << n_ << " m " << m_ << ")";
    }
    v_ = matrix(a, 1, random_.one_of({0.3, 1.0, 5.0}));
    b_ = matrix(a, 1, 1.0);
    score_size_ = static_cast<double>(v_.cwiseAbs().sum());
    switch (additive_ ? random_.integer(4, 7) : random_.integer(0, 3)) {
      case 0:
        take_score("scaled_dot", scores::scaled_dot{});
        break;
      case 1:
        take_score("dot", scores::dot{});
        break;
      case 2:
        take_score("cosine", scores::cosine{});
        break;
      case 3:
        dk_ = random_.integer(1, 12);
        W_ = matrix(d_, dk_, 0.5);
        take_score("general", scores::general{W_});
        break;
      case 4:
        d_ = dk_ = a;
        take_score("additive_projected", scores::additive_projected{v_});
        break;
      case 5:
        dk_ = random_.integer(1, 12);
        W_ = matrix(d_, a, 0.5);
        W2_ = matrix(dk_, a, 0.5);
        take_score("additive", scores::additive{W_, W2_, v_});
        break;
      case 6:
        dk_ = random_.integer(1, 12);
        W_ = matrix(d_, a, 0.5);
        W2_ = matrix(dk_, a, 0.5);
        take_score("additive with bias", scores::additive{W_, W2_, v_, b_});
        break;
      default:
        dk_ = random_.integer(1, 12);
        W_ = matrix(d_ + dk_, a, 0.5);
        take_score("concat", scores::concat{W_, v_});
        break;
    }
    if (!additive_) score_size_ = 0;
    if (random_.chance(0.3)) scale_ = random_.one_of({0.1, 0.7, 1.0, -0.5, 2.0});
    if (scale_) about_ << " scale " << *scale_;
    about_ << " a " << a << " d " << d_ << " dk " << dk_;
  }

  void choose_inputs() {
    const double of_queries = random_.one_of({1e-4, 0.1, 1.0, 1.0, 3.0, 20.0});
    const double of_keys = random_.one_of({1e-4, 0.1, 1.0, 1.0, 3.0, 20.0});
    row_major<T> Q = matrix(n_, query_heads_ * d_, of_queries);
    row_major<T> K = matrix(m_, kv_heads_ * dk_, of_keys);
    V_ = matrix(m_, kv_heads_ * e_, random_.one_of({0.1, 1.0, 1e6}));
    if (random_.chance(0.15)) {  // ties and zeros
      Q = Q.array().round();
      K = K.array().round();
    }
    if (random_.chance(0.2)) {  // rows of different sizes in one tile
      for (Eigen::Index j = 0; j < m_; j += 3) K.row(j) *= T(0.01);
      for (Eigen::Index i = 0; i < n_; i += 4) Q.row(i) *= T(5);
    }
    Q_ = stored_matrix<T>(Q, random_);
    K_ = stored_matrix<T>(K, random_);
    stored_V_ = stored_matrix<T>(V_, random_);
    about_ << ", |q| " << of_queries << " |k| " << of_keys << ", Q " << Q_.name() << ", K "
           << K_.name() << ", V " << stored_V_.name();
  }

  template <class... Fs>
  void take_transforms(const char* name, Fs... fs) {
    transform_ = hold_transform(softlook::detail::transforms_of(fs...));
    about_ << ", " << name;
  }

  void choose_transforms() {
    namespace transforms = softlook::transforms;
    const transforms::soft_cap cap{random_.one_of({0.5, 5.0, 50.0})};
    const transforms::alibi slope{random_.one_of({0.01, 0.25, 1.0})};
    const bool one_row = random_.chance(0.2), one_column = !one_row && random_.chance(0.2);
    bias_ = matrix(one_row ? 1 : n_, one_column ? 1 : m_, 2.0);
    generator holes = random_.numbers();
    if (random_.chance(0.3))
      for (Eigen::Index k = 0; k < bias_.size(); ++k)
        if (holes.chance(0.3)) bias_.data()[k] = -std::numeric_limits<T>::infinity();
    const transforms::bias bias{bias_};
    const transforms::map bent([](auto s, std::int32_t i, std::int32_t j, std::int32_t head) {
      using S = decltype(s);
      return S(0.8) * s + S(0.05) * S((3 * i + 5 * j + 7 * head) % 11);
    });
    slopes_ = transforms::alibi_slopes(query_heads_);
    switch (random_.integer(0, 10)) {
      case 0:
        return take_transforms("soft_cap", cap);
      case 1:
        return take_transforms("alibi", slope);
      case 2:
        return take_transforms("bias", bias);
      case 3:
        return take_transforms("functor", bent);
      case 4:
        return take_transforms("soft_cap, bias", cap, bias);
      case 5:
        return take_transforms("alibi, soft_cap", slope, cap);
      case 6:
        return take_transforms("alibi_per_head, functor", transforms::alibi_per_head{slopes_},
                               bent);
      default:
        about_ << ", no transform";
    }
  }

  template <class Mask>
  void take_mask(const char* name, Mask mask) {
    mask_ = hold_mask(std::move(mask));
    about_ << ", " << name;
  }

  void choose_mask() {
    namespace masks = softlook::masks;
    const masks::window window{.left = random_.integer(0, m_),
                               .right = random_.integer(0, 9),
                               .offset = random_.integer(-5, m_)};
    const masks::padding padding{.length = random_.integer(0, m_)};
    const masks::causal causal{.offset = random_.integer(-n_, m_)};
    const double share = random_.one_of({0.05, 0.5, 0.95});
    attend_.resize(n_, m_);
    generator pairs = random_.numbers();
    for (Eigen::Index k = 0; k < attend_.size(); ++k) attend_.data()[k] = pairs.chance(share);
    const masks::where scattered([](std::int32_t i, std::int32_t j, std::int32_t head) {
      return (i * 7 + j * 3 + head) % 5 != 0;
    });
    about_ << ", window " << *window.left << " " << *window.right << " " << window.offset
           << " padding " << padding.length << " causal " << causal.offset << ":";
    switch (random_.integer(0, 14)) {
      case 0:
        return take_mask("causal_top_left", masks::causal_top_left{});
      case 1:
        return take_mask("causal_bottom_right", masks::causal_bottom_right{});
      case 2:
        return take_mask("causal", causal);
      case 3:
        return take_mask("window", window);
      case 4:
        return take_mask("window_of", masks::window_of(random_.integer(1, 20)));
      case 5:
        return take_mask("padding", padding);
      case 6:
        return take_mask("dense", masks::dense{attend_});
      case 7:
        return take_mask("where", scattered);
      case 8:
        return take_mask("causal_bottom_right & padding", masks::causal_bottom_right{} & padding);
      case 9:
        return take_mask("window | causal", window | causal);
      case 10:
        return take_mask("!window & dense", (!window) & masks::dense{attend_});
      case 11:
        return take_mask("!padding", !padding);
      default:
        return take_mask("no mask", masks::none{});
    }
  }

  std::vector<way> ways(softlook::instruction_set isa) const {
    const std::string set = std::string(" on ") + softlook::name_of(isa);
    softlook::options opts;
    opts.scale = scale_;
    opts.isa = isa;
    if (small_tiles_) opts.tile = smallest_tile;
    std::vector<way> result{{"chosen by shape" + set, opts}};
    opts.kernel = softlook::kernel::tiled;
    result.push_back({"tiled" + set, opts});
    if (n_ > 12) return result;
    opts.kernel = softlook::kernel::few_queries;
    result.push_back({"few_queries" + set, opts});
    return result;
  }

  template <class... Policies>
  auto compute(const softlook::options& opts, const Policies&... policies) {
    return softlook::attention_with_log_sum_exp(
        Q_.view(), K_.view(), stored_V_.view(),
        softlook::heads{.query = query_heads_, .kv = kv_heads_}, policies..., opts);
  }

  template <class... Policies>
  void check_ways(const Policies&... policies) {
    softlook::options naive_opts;
    naive_opts.scale = scale_;
    naive_opts.kernel = softlook::kernel::naive;
    const auto truth = oracle::multi_head_attention(
        Q_.view(), K_.view(), stored_V_.view(), query_heads_, kv_heads_, policies..., naive_opts);
    const double scores =
        std::max(max_magnitude(truth.scores), score_size_ * std::fabs(scale_.value_or(1)));
    const double values = max_magnitude(V_), steep = scores + hidden_size(policies...);
    const double bound =
        attention_bound<T>(static_cast<double>(m_), static_cast<double>(d_ + dk_), steep, 1);
    const double additions = static_cast<double>(small_tiles_ ? m_ : m_ / 32);
    for (const auto isa : softlook::available_instruction_sets()) {
      // Projections are computed in the set's arithmetic on every path, the naive one included.
      naive_opts.isa = isa;
      const auto naive = compute(naive_opts, policies...);
      const double naive_error = max_error(naive.output, truth.output);
      const double naive_log_error = max_error(naive.log_sum_exp, truth.log_sum_exp);
      EXPECT_LE(naive_error, bound * values) << "naive output";
      EXPECT_LE(naive_log_error, bound) << "naive log-sum-exp";
      const double tolerance = 2 * naive_error + rounding_of<T>(steep, values);
      const double log_tolerance = 2 * naive_log_error + log_sum_exp_rounding<T>(steep, additions);
      for (const way& which : ways(isa)) {
        const auto state = compute(which.opts, policies...);
        EXPECT_LE(max_error(state.output, truth.output), tolerance) << which.name << " output";
        EXPECT_LE(max_error(state.log_sum_exp, truth.log_sum_exp), log_tolerance)
            << which.name << " log-sum-exp";
        count_compared(isa);
      }
    }
  }

  /// How far a rounding of the largest argument of tanh can move a score; 0 for dot products.
  template <class Score, class... Others>
  double hidden_size(const Score& score, const Others&...) {
    if (!additive_) return 0;
    double largest = 0;
    for (Eigen::Index h = 0; h < query_heads_; ++h) {
      const auto shared = h / (query_heads_ / kv_heads_);
      const auto projected =
          oracle::define<T>(score, oracle::widen(Q_.view().middleCols(h * d_, d_)),
                            oracle::widen(K_.view().middleCols(shared * dk_, dk_)));
      largest = std::max(largest, max_magnitude(projected.Q) + max_magnitude(projected.K));
    }
    return largest * score_size_ * std::fabs(scale_.value_or(1));
  }

  choices& random_;
  Eigen::Index part_ = 1;
  std::ostringstream about_;
  bool small_tiles_ = false, additive_ = false;
  Eigen::Index n_ = 1, m_ = 1, d_ = 1, dk_ = 1, e_ = 1, query_heads_ = 1, kv_heads_ = 1;
  double score_size_ = 0;  // the largest an additive score can be
  std::optional<double> scale_;
  row_major<T> W_, W2_, V_, bias_;
  column<T> v_, b_;
  row_major<bool> attend_;
  Eigen::VectorXd slopes_;
  stored_matrix<T> Q_, K_, stored_V_;
  std::shared_ptr<const score_interface<T>> score_;
  std::shared_ptr<const transform_interface> transform_;
  std::shared_ptr<const mask_interface> mask_;
};

/// Finite scores up to the largest number, of either sign, from inputs, scales and biases near both
/// ends of T's range. Scores are exact (small whole numbers times powers of two) before the bias,
/// and their sum with it is rounded once: so the naive path, which forms the scores as the formula
/// has them, is what the others are held to. In long double rounded ties would be none.
template <class T>
class extreme_case {
 public:
  explicit extreme_case(choices& random, Eigen::Index part = 1) : random_(random) {
    n_ = random_.chance(0.4) ? random_.integer(1, 4) : random_.integer(1, 40);
    m_ = random_.chance(0.2 / double(part)) ? random_.integer(300, 900) : random_.integer(1, 90);
    d_ = random_.integer(1, 20);
    choose_inputs();
    choose_bias();
    length_ = random_.chance(0.3) ? random_.integer(0, m_) : m_;
    about_ << ", n " << n_ << " m " << m_ << " d " << d_ << " keys " << length_;
  }

  std::string description() const { return about_.str(); }

  void check() {
    const auto computed = [&](const softlook::options& opts) {
      const softlook::masks::padding mask{.length = length_};
      if (bias_.size() == 0)
        return softlook::attention_with_log_sum_exp(Q_, K_, V_, softlook::scores::dot{}, mask,
                                                    opts);
      return softlook::attention_with_log_sum_exp(Q_, K_, V_, softlook::scores::dot{},
                                                  softlook::transforms::bias(bias_), mask, opts);
    };
    // Every path multiplies Q by the scale first.
    const double scaled = max_magnitude(Q_) * std::fabs(*scale_);
    if (!(scaled <= static_cast<double>(limits::max()))) return;
    softlook::options naive;
    naive.kernel = softlook::kernel::naive;
    naive.scale = scale_;
    const auto truth = computed(naive);
    const double values = max_magnitude(V_);
    // The naive path computes these scores without rounding; the kernels, which fold log₄ e into Q
    // where there is no bias, do not, and break ties of large scores.
    const double doubt =
        bias_.size() > 0
            ? 0
            : 4 * static_cast<double>(d_) * double(limits::epsilon()) * max_magnitude(K_) * scaled;
    const double tolerance =
        doubt > 0.25
            ? 2 * values
            : (attention_bound<T>(static_cast<double>(m_), 1, deepest, 1) + 4 * doubt) * values;
    ASSERT_TRUE(truth.output.allFinite());
    for (const way& which : fast_ways()) {
      softlook::options opts = which.opts;
      opts.scale = scale_;
      const auto state = computed(opts);
      EXPECT_TRUE(state.output.allFinite()) << which.name;
      EXPECT_LE(max_error(state.output, truth.output), tolerance) << which.name << " output";
      double worst = 0;  // of the log-sum-exps, in units of what is allowed
      for (Eigen::Index i = 0; i < n_; ++i) {
        const auto is = static_cast<double>(state.log_sum_exp[i]);
        const auto wanted = static_cast<double>(truth.log_sum_exp[i]);
        if (is == wanted) continue;
        const double allowed = log_sum_exp_rounding<T>(std::fabs(wanted) + deepest, 64) + doubt;
        const double error = std::fabs(is - wanted) / allowed;
        worst =
            std::isfinite(error) ? std::max(worst, error) : std::numeric_limits<double>::infinity();
      }
      EXPECT_LE(worst, 1) << which.name << " log-sum-exp";
      count_compared(*which.opts.isa);
    }
  }

 private:
  using limits = std::numeric_limits<T>;
  /// Scores further below a row's largest have no weight in T.
  static constexpr double deepest = std::is_same_v<T, float> ? 104 : 746;

  row_major<T> whole_numbers(Eigen::Index rows, Eigen::Index cols, Eigen::Index exponent) {
    generator numbers = random_.numbers();
    row_major<T> X(rows, cols);
    for (Eigen::Index k = 0; k < X.size(); ++k)
      X.data()[k] = std::ldexp(static_cast<T>(numbers.integer(-2, 2)), static_cast<int>(exponent));
    return X;
  }

  /// Exponents of Q, K and the scale: of a score, with or without the scale, within the range; of
  /// Q times the scale, not always (then there is nothing to compare).
  void choose_inputs() {
    const Eigen::Index top = limits::max_exponent - 2 - 8, least = limits::min_exponent + 30;
    const Eigen::Index both = random_.one_of<Eigen::Index>({least, 0, 0, top / 2, top});
    const Eigen::Index all = random_.one_of<Eigen::Index>({0, 0, 3, top / 2, top});
    const Eigen::Index of_queries =
        std::clamp<Eigen::Index>(random_.one_of<Eigen::Index>({both / 2, top, least, 0}),
                                 std::max(least, both - top), std::min(top, both - least));
    Q_ = whole_numbers(n_, d_, of_queries);
    K_ = whole_numbers(m_, d_, both - of_queries);
    const double largest = static_cast<double>(limits::max()) / (8.0 * static_cast<double>(m_));
    generator numbers = random_.numbers();
    V_ = random_matrix<row_major<T>>(m_, 3, numbers, random_.one_of({1.0, largest / 8}));
    // Twice the range of a scale would be needed to lead from one end to the other.
    const Eigen::Index factor = std::clamp(all - both, least, top);
    scale_ = std::ldexp(random_.chance(0.5) ? 1.0 : -1.0, static_cast<int>(factor));
    about_ << ", 2^ q " << of_queries << " k " << both - of_queries << " scale " << factor;
  }

  void choose_bias() {
    if (random_.chance(0.3)) return;
    const double most = static_cast<double>(limits::max());
    bias_.setZero(n_, m_);
    const double share = random_.one_of({0.05, 0.5, 1.0});
    // Half of the range, where scores may be as large themselves.
    const double end =
        max_magnitude(Q_) * max_magnitude(K_) * std::fabs(*scale_) > 1e3 ? most / 2 : most;
    generator numbers = random_.numbers();
    const auto extreme = [&] {
      return numbers.one_of({-end, -end, end, end / 2, -end / 3,
                             static_cast<double>(limits::denorm_min()),
                             -std::numeric_limits<double>::infinity()});
    };
    const double of_row = extreme();
    const bool alike = random_.chance(0.3);
    for (Eigen::Index k = 0; k < bias_.size(); ++k)
      if (numbers.chance(share)) bias_.data()[k] = static_cast<T>(alike ? of_row : extreme());
    about_ << ", bias " << (alike ? of_row : 0) << " for " << share;
  }

  choices& random_;
  std::ostringstream about_;
  Eigen::Index n_ = 1, m_ = 1, d_ = 1, length_ = 0;
  std::optional<double> scale_;
  row_major<T> Q_, K_, V_, bias_;
};

}  // namespace softlook_test
