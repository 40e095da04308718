#pragma once

#include <tuple>

#include "softlook/core/norm_kind.hpp"
#include "softlook/layer/multi_head.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup transformer
/// \{

/// The form of a Transformer's layer, encoder or decoder.
struct transformer_layer_options {
  softlook::heads heads{};
  softlook::activation activation = softlook::activation::relu;  ///< of the feed-forward
  bool norm_first = false;  ///< pre-norm; the paper's layer is post-norm
  double epsilon = 1e-5;    ///< of all norms
  norm_kind norm = norm_kind::layer;
};

namespace detail {

struct source_attention {};
struct target_attention {};
struct memory_attention {};

/// Masks, transforms and sequences of one attention of a layer or a model that has several.
template <class Place, class... Ps>
struct target_policies {
  std::tuple<Ps...> policies;
};

template <class Place, class... Ps>
[[nodiscard]] target_policies<Place, Ps...> policies_at(const Ps&... ps) {
  static_assert(((mask_policy<Ps> || transform_policy<Ps> || is_sequences<Ps>) && ...),
                "softlook: for_source, for_target and for_memory take a mask, transforms, and "
                "segments{…} or padded_batch{…}; an executor and options{…} stand beside them");
  return {{ps...}};
}

}  // namespace detail

/// Which attention of a decoder, or of a whole Transformer, masks and transforms are for:
///   for_source   the encoder's self-attention
///   for_target   the decoder's self-attention; a decoder that is trained to predict the next token
///                has masks::causal_top_left here
///   for_memory   the decoder's attention to what the encoder made
///
/// Each takes a mask and transforms; matrices in them are views. Call them where they are used:
///
///     decoder(X, memory, for_target(masks::causal_top_left{}), for_memory(masks::padding{7}))
///
/// Several sequences in one call are said of each attention, whose keys differ; a cache holds one:
///
///     decoder(X, memory, for_target(segments{at}, causal), for_memory(segments{at, memory_at}))
template <class... Ps>
[[nodiscard]] auto for_source(const Ps&... policies) {
  return detail::policies_at<detail::source_attention>(policies...);
}
template <class... Ps>
[[nodiscard]] auto for_target(const Ps&... policies) {
  return detail::policies_at<detail::target_attention>(policies...);
}
template <class... Ps>
[[nodiscard]] auto for_memory(const Ps&... policies) {
  return detail::policies_at<detail::memory_attention>(policies...);
}

namespace detail {

template <class P, class Place>
inline constexpr bool is_for = false;
template <class Place, class... Ps>
inline constexpr bool is_for<target_policies<Place, Ps...>, Place> = true;

template <class P>
inline constexpr bool places_sequences = false;
template <class Place, class... Ps>
inline constexpr bool places_sequences<target_policies<Place, Ps...>> = (is_sequences<Ps> || ...);

/// The masks and transforms for one place.
template <class Place>
[[nodiscard]] inline std::tuple<> policies_for() {
  return {};
}
template <class Place, class P, class... Ps>
[[nodiscard]] auto policies_for(const P& p, const Ps&... ps) {
  if constexpr (is_for<P, Place>)
    return p.policies;
  else
    return policies_for<Place>(ps...);
}

/// What the masks and transforms of one attention say, in a call with these options or none.
template <class T, bool has_options, class... Own>
[[nodiscard]] auto sorted_for(const layer_call& whole, const std::tuple<Own...>& own) {
  return std::apply(
      [&](const Own&... mine) {
        return sorted_policies<T, Own...>(whole, std::bool_constant<has_options>{}, mine...);
      },
      own);
}

template <class T, class P>
inline constexpr bool fits_scalar = true;
template <class T, class Place, class... Ps>
inline constexpr bool fits_scalar<T, target_policies<Place, Ps...>> = check_policies<T, Ps...>();

/// Calls that take policies for some places, an executor and options.
template <class... Places>
struct placed_policies {
  template <class P>
  static constexpr bool known = executor<P> || is_options<P> || (is_for<P, Places> || ...);
  template <class Place, class... Ps>
  static constexpr bool once = (int(is_for<Ps, Place>) + ... + 0) <= 1;

  template <class T, class... Ps>
  static constexpr bool check() {
    constexpr bool all_known = (known<Ps> && ...);
    static_assert(all_known,
                  "softlook: this call has several attentions: give for_target(mask, transforms) "
                  "and for_memory(…), a whole Transformer for_source(…) too, an executor and "
                  "options{…}");
    if constexpr (all_known) {
      constexpr bool single = (once<Places, Ps...> && ...) && (int(executor<Ps>) + ... + 0) <= 1 &&
                              (int(is_options<Ps>) + ... + 0) <= 1;
      static_assert(single,
                    "softlook: give each of for_source, for_target, for_memory, an executor and "
                    "options{…} at most once");
      return single && (fits_scalar<T, Ps> && ...);
    } else {
      return false;
    }
  }
};
/// What the policies of a decoder's two attentions say.
template <class T>
struct decoder_calls {
  const call_policies<T>& target;
  const call_policies<T>& memory;
  operator const layer_call&() const { return target; }
};

/// f(calls) of these masks and transforms and what else is given.
template <class T, class Target, class Memory, class F, class... Ps>
void with_decoder_calls(const char* where, const Target& target, const Memory& memory, const F& f,
                        const Ps&... ps) {
  constexpr bool has_options = (is_options<Ps> || ...);
  const layer_call whole = layer_call_of(where, ps...);
  const auto for_target = sorted_for<T, has_options>(whole, target);
  const auto for_memory = sorted_for<T, has_options>(whole, memory);
  f(decoder_calls<T>{*for_target, *for_memory});
}

struct decoder_policies : placed_policies<target_attention, memory_attention> {
  template <class T, class F, class... Ps>
  static void resolve(const char* where, const F& f, const Ps&... ps) {
    with_decoder_calls<T>(where, policies_for<target_attention>(ps...),
                          policies_for<memory_attention>(ps...), f, ps...);
  }
};

/// What the policies of a whole Transformer say.
template <class T>
struct transformer_calls {
  const call_policies<T>& source;
  const decoder_calls<T>& decoder;
  operator const layer_call&() const { return source; }
};

struct transformer_policies
    : placed_policies<source_attention, target_attention, memory_attention> {
  template <class T, class F, class... Ps>
  static void resolve(const char* where, const F& f, const Ps&... ps) {
    const auto for_source = sorted_for<T, (is_options<Ps> || ...)>(
        layer_call_of(where, ps...), policies_for<source_attention>(ps...));
    decoder_policies::resolve<T>(
        where,
        [&](const decoder_calls<T>& decoder) { f(transformer_calls<T>{*for_source, decoder}); },
        ps...);
  }
};

}  // namespace detail
/// \}

SOFTLOOK_NAMESPACE_END
