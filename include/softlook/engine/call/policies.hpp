#pragma once

#include <tuple>
#include <type_traits>

#include "softlook/core/concepts.hpp"
#include "softlook/core/dropout.hpp"
#include "softlook/core/sinks.hpp"
#include "softlook/engine/run/attention_call.hpp"

// Policies by kind, whatever call they are of.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

template <class P>
inline constexpr bool is_options = std::is_same_v<P, options>;
template <class P>
inline constexpr bool is_heads = std::is_same_v<P, heads>;
template <class P>
inline constexpr bool is_frame = std::is_same_v<P, frame>;
template <class P>
inline constexpr bool is_sequences = std::is_same_v<P, segments> || std::is_same_v<P, padded_batch>;
template <class P>
inline constexpr bool is_dropout = std::is_same_v<P, dropout>;
template <class P>
inline constexpr bool is_sinks = std::is_same_v<P, sinks>;
template <class P>
inline constexpr bool is_low_precision = std::is_same_v<P, low_precision>;
/// What only a softmax over the products of a call has a place for.
template <class P>
inline constexpr bool is_of_softmax = is_sinks<P> || is_dropout<P> || is_low_precision<P>;

/// Of the policies of a call, whether each is of some kind.
template <bool... Given>
inline constexpr bool at_most_one = (int(Given) + ... + 0) <= 1;

/// A policy that holds matrices says their scalar type.
template <class P, class T>
constexpr bool scalar_fits() {
  if constexpr (requires { typename P::scalar; })
    return std::is_same_v<typename P::scalar, T>;
  else
    return true;
}

/// Says what is wrong with the policies of a call in float or double; false after a message, so
/// that callers can leave out the code that would only add noise to it.
template <class T, class... Ps>
constexpr bool check_policies() {
  constexpr bool known = (policy<Ps> && ...);
  constexpr bool one_score = at_most_one<score_policy<Ps>...>;
  constexpr bool one_mask = at_most_one<mask_policy<Ps>...>;
  constexpr bool one_executor = at_most_one<executor<Ps>...>;
  constexpr bool one_options = at_most_one<is_options<Ps>...>;
  constexpr bool one_heads = at_most_one<is_heads<Ps>...>;
  constexpr bool one_frame = at_most_one<is_frame<Ps>..., is_sequences<Ps>...>;
  constexpr bool one_sinks = at_most_one<is_sinks<Ps>...>;
  constexpr bool one_dropout = at_most_one<is_dropout<Ps>...>;
  constexpr bool one_precision = at_most_one<is_low_precision<Ps>...>;
  constexpr bool one_scalar = (scalar_fits<Ps, T>() && ...);
  static_assert(
      known,
      "softlook: an argument after V is no policy: give scores::…, transforms::…, masks::…, "
      "heads{…}, frame{…}, segments{…}, sinks(…), dropout{…}, low_precision{…}, exec::… or "
      "options{…}; wrap a function as transforms::map(f) or masks::where(f)");
  static_assert(one_score, "softlook: give at most one score");
  static_assert(one_mask, "softlook: give at most one mask; combine masks with &, | and !");
  static_assert(one_executor, "softlook: give at most one executor");
  static_assert(one_options, "softlook: give at most one options{…}");
  static_assert(one_heads, "softlook: give at most one heads{…}");
  static_assert(one_frame, "softlook: give at most one frame{…}, segments{…} or padded_batch{…}");
  static_assert(one_sinks, "softlook: give at most one sinks(…)");
  static_assert(one_dropout, "softlook: give at most one dropout{…}");
  static_assert(one_precision, "softlook: give at most one low_precision{…}");
  static_assert(one_scalar,
                "softlook: Q, K, V and the matrices of a policy must share one scalar type");
  return known && one_score && one_mask && one_executor && one_options && one_heads && one_frame &&
         one_sinks && one_dropout && one_precision && one_scalar;
}

template <class F>
inline constexpr bool only_adds = requires(const F& f, problem p) { f.added(p); };

/// Transforms in the order written:  f_k(… f_2(f_1(s))).
template <class... Fs>
struct transform_chain {
  std::tuple<Fs...> steps;

  template <class S>
  [[nodiscard]] S operator()(S s, std::int32_t i, std::int32_t j, problem p) const {
    return std::apply([&](const Fs&... f) { return ((s = f(s, i, j, p)), ..., s); }, steps);
  }
  template <class T = double>
  void check(const char* where, problem p) const {
    std::apply([&](const Fs&... f) { (check_policy<T>(f, where, p), ...); }, steps);
  }
  /// What the chain adds to each score, where that is all it does.
  [[nodiscard]] auto added(problem p) const
    requires(sizeof...(Fs) == 1 && (only_adds<Fs> && ...))
  {
    return std::get<0>(steps).added(p);
  }
};

template <class P, class Kind>
[[nodiscard]] constexpr auto only_if(const P& p) {
  if constexpr (policy_of_kind<P, Kind>)
    return std::tuple<P>(p);
  else
    return std::tuple<>();
}

template <class... Fs>
[[nodiscard]] constexpr transform_chain<Fs...> chain_of(std::tuple<Fs...> steps) {
  return {std::move(steps)};
}

/// The transforms among the policies, in the order written.
template <class... Ps>
[[nodiscard]] constexpr auto transforms_of(const Ps&... ps) {
  if constexpr ((transform_policy<Ps> || ...))
    return chain_of(std::tuple_cat(only_if<Ps, transform_kind>(ps)...));
  else
    return transform_chain<>{};
}

/// The one policy of a kind, or the default.
template <class Kind, class Default>
[[nodiscard]] constexpr Default policy_or(const Default& otherwise) {
  return otherwise;
}
template <class Kind, class Default, class P, class... Ps>
[[nodiscard]] constexpr auto policy_or(const Default& otherwise, [[maybe_unused]] const P& p,
                                       const Ps&... ps) {
  if constexpr (policy_of_kind<P, Kind>)
    return p;
  else
    return policy_or<Kind>(otherwise, ps...);
}

/// The policy of one type, or what it is when it is not given.
template <class Policy>
[[nodiscard]] constexpr Policy value_of() {
  return {};
}
template <class Policy, class P, class... Ps>
[[nodiscard]] constexpr Policy value_of(const P& p, const Ps&... ps) {
  if constexpr (std::is_same_v<P, Policy>)
    return p;
  else
    return value_of<Policy>(ps...);
}
template <class... Ps>
[[nodiscard]] constexpr options options_of(const Ps&... ps) {
  return value_of<options>(ps...);
}
template <class... Ps>
[[nodiscard]] constexpr heads heads_of(const Ps&... ps) {
  return value_of<heads>(ps...);
}

/// The sinks among the policies, which are there.
template <class P, class... Ps>
[[nodiscard]] constexpr const sinks& sinks_of(const P& p, const Ps&... ps) {
  if constexpr (is_sinks<P>)
    return p;
  else
    return sinks_of(ps...);
}

/// Calls that know one head only, and whose rows are all there are.
template <class... Ps>
constexpr bool check_single_head() {
  constexpr bool single =
      (!(is_heads<Ps> || is_frame<Ps> || is_sequences<Ps> || is_of_softmax<Ps>) && ...);
  static_assert(single,
                "softlook: this attention has one head and all rows, and no softmax that a sink "
                "could join or whose weights could be dropped; call it for each head, "
                "head_columns(X, head, heads), and leave frame{…}, sinks(…), dropout{…} and "
                "low_precision{…} out");
  return single;
}

/// Calls that know heads, but whose rows are all there are.
template <class... Ps>
constexpr bool check_all_rows() {
  constexpr bool all = (!(is_frame<Ps> || is_sequences<Ps> || is_of_softmax<Ps>) && ...);
  static_assert(all,
                "softlook: this attention has all rows of one sequence, and no softmax that a sink "
                "could join or whose weights could be dropped: leave frame{…}, segments{…}, "
                "padded_batch{…}, sinks(…), dropout{…} and low_precision{…} out");
  return all;
}

/// Calls that know heads and frames, but one sequence only.
template <class... Ps>
constexpr bool check_one_sequence() {
  constexpr bool one = (!(is_sequences<Ps> || is_of_softmax<Ps>) && ...);
  static_assert(one,
                "softlook: this attention takes one sequence, call it for each of them, and has no "
                "softmax that a sink could join or whose weights could be dropped");
  return one;
}

/// f(policies…) with one more mask: joined to the one that is given, or alone.
template <class Mask, class F, class... Ps>
decltype(auto) with_mask(const Mask& more, const F& f, const Ps&... ps) {
  const auto joined = [&](const auto& policy) -> decltype(auto) {
    if constexpr (mask_policy<std::remove_cvref_t<decltype(policy)>>)
      return more & policy;
    else
      return (policy);
  };
  if constexpr ((mask_policy<Ps> || ...))
    return f(joined(ps)...);
  else
    return f(more, ps...);
}

/// What the policies of a call of any kind say of these.
template <class... Ps>
[[nodiscard]] layer_call layer_call_of(const char* where, const Ps&... ps) {
  const options given = options_of(ps...);
  return {where, exec_of(ps...), given, chosen_instruction_set(where, given)};
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
