// Kinds of attention behind one interface, so that one suite of properties (family.inl) holds them
// all. A variant is a type with a name, flags and output(inputs, how); softmax attention joins by
//
//   struct cosine : attention_by<[](const auto& call) { return call(scores::cosine{}); }> {
//     static constexpr auto name = "cosine";
//   };
//
// and its name in the list of its file.
#pragma once

#include <map>
#include <tuple>

#include "softlook/mask/causal.hpp"
#include "softlook/mask/combine.hpp"
#include "tests/support/erased.hpp"
#include "tests/support/kernels.hpp"
#include "tests/support/random.hpp"

namespace softlook_test::family {

using matrix = row_major<float>;
using softlook::index;

/// Features of a token, everywhere: parameters of a variant are made once.
inline constexpr index features = 8;

struct inputs {
  matrix Q, K, V;
};

/// How a variant is to be computed; one type of mask, whatever it hides.
struct how {
  any_mask mask;
  bool causal = false;
  softlook::options opts{};
};

/// What a variant is, unless it says otherwise.
struct variant {
  static constexpr bool self_attention = false;    ///< of one sequence: Q, K and V are the same
  static constexpr bool as_many_keys = false;      ///< n = m only
  static constexpr bool queries_are_equal = true;  ///< a query does not know its position
  static constexpr bool keys_are_equal = true;     ///< nor does a key
  static constexpr bool takes_masks = true;
  static constexpr bool averages = true;    ///< outputs are means of values, weighted
  static constexpr bool whole_rows = true;  ///< weights of a row sum to 1; false: to at most 1
  static constexpr bool linear_in_values = true;
  static constexpr bool tiles = true;     ///< options::kernel chooses between naive and tiled
  static constexpr double steepness = 1;  ///< of the scores, beside a dot product of d features
};

/// attention() of what the suite gives, with the policies of a variant.
struct attend {
  const inputs& in;
  const how& h;
  template <class... Ps>
  matrix operator()(const Ps&... policies) const {
    return softlook::attention(in.Q, in.K, in.V, policies..., h.mask, h.opts);
  }
  template <class Mask, class... Ps>
  matrix under(const Mask& mask, const Ps&... policies) const {
    const auto both = hold_mask(mask & h.mask);
    return attend{in, {any_mask{both.get()}, h.causal, h.opts}}(policies...);
  }
};

/// The weights of the same.
struct weigh {
  const inputs& in;
  const how& h;
  template <class... Ps>
  matrix operator()(const Ps&... policies) const {
    return softlook::attention_weights(in.Q, in.K, policies..., h.mask, h.opts);
  }
  template <class Mask, class... Ps>
  matrix under(const Mask& mask, const Ps&... policies) const {
    const auto both = hold_mask(mask & h.mask);
    return weigh{in, {any_mask{both.get()}, h.causal, h.opts}}(policies...);
  }
};

/// A variant that is attention() with some policies: Policies(call) calls call(policies…), or
/// call.under(mask, policies…) with a mask of its own.
template <auto Policies>
struct attention_by : variant {
  static matrix output(const inputs& in, const how& h) { return Policies(attend{in, h}); }
  static matrix weights(const inputs& in, const how& h) { return Policies(weigh{in, h}); }
};

/// The same, where positions matter.
template <auto Policies>
struct attention_by_position : attention_by<Policies> {
  static constexpr bool queries_are_equal = false;
  static constexpr bool keys_are_equal = false;
};

/// Parameters of a variant, the same in every call; columns have a length of about 1.
inline const matrix& learned(index rows, index cols, int which = 0) {
  static std::map<std::tuple<index, index, int>, matrix> all;
  matrix& found = all[{rows, cols, which}];
  if (found.size() == 0) {
    generator random = seed(static_cast<std::uint64_t>(rows * 1009 + cols * 31 + which));
    found = random_matrix<matrix>(rows, cols, random, 1 / std::sqrt(static_cast<double>(rows)));
  }
  return found;
}

}  // namespace softlook_test::family
