#pragma once

#include <cstdint>
#include <type_traits>

#include "softlook/engine/call/checks.hpp"
#include "softlook/engine/call/policies.hpp"
#include "softlook/engine/run/dropped_weights.hpp"
#include "softlook/engine/run/sequences.hpp"
#include "softlook/exec/sequential.hpp"
#include "softlook/mask/none.hpp"
#include "softlook/score/dot.hpp"

// Policies of a call, sorted by kind.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

template <class T, class Transform>
void apply_transform_matrix(const void* self, mutable_matrix_view<T> S, const call_frame& f,
                            problem p) {
  const Transform& transform = *static_cast<const Transform*>(self);
  for (index i = 0; i < S.rows; ++i)
    for (index j = 0; j < S.cols; ++j)
      S(i, j) = T(transform(S(i, j), static_cast<std::int32_t>(f.query(i)),
                            static_cast<std::int32_t>(f.key(j)), p));
}

template <class T, class Mask>
void forbid_matrix(const void* self, mutable_matrix_view<T> S, const call_frame& f, problem p) {
  const Mask& mask = *static_cast<const Mask*>(self);
  for (index i = 0; i < S.rows; ++i)
    for (index j = 0; j < S.cols; ++j)
      if (!mask.allows(static_cast<std::int32_t>(f.query(i)), static_cast<std::int32_t>(f.key(j)),
                       p))
        S(i, j) = -std::numeric_limits<T>::infinity();
}

/// The check of a policy that has one.
template <class T, class P>
[[nodiscard]] constexpr auto check_of() -> void (*)(const void*, const char*, problem) {
  if constexpr (
      requires(const P& p) { p.template check<T>("", problem{}); } ||
      requires(const P& p) { p.check("", problem{}); })
    return [](const void* self, const char* where, problem p) {
      check_policy<T>(*static_cast<const P*>(self), where, p);
    };
  else
    return nullptr;
}

template <class T, class Mask>
[[nodiscard]] mask_calls<T> calls_of_mask(const Mask& mask, instruction_set isa) {
  mask_calls<T> calls;
  calls.mask = &mask;
  calls.is_none = std::is_same_v<Mask, masks::none>;
  calls.check = check_of<T, Mask>();
  calls.key_range = [](const void* self, range queries, problem p) -> range {
    return static_cast<const Mask*>(self)->key_range(queries, p);
  };
  calls.coverage_of = [](const void* self, range queries, range keys, problem p) -> coverage {
    return static_cast<const Mask*>(self)->coverage_of(queries, keys, p);
  };
  set_edits<T, Mask>(calls, isa);
  calls.forbid_matrix = &forbid_matrix<T, Mask>;
  return calls;
}

template <class T, class Transform>
[[nodiscard]] transform_calls<T> calls_of_transform(const Transform& transform,
                                                    instruction_set isa) {
  transform_calls<T> calls;
  if constexpr (!std::is_same_v<Transform, transform_chain<>>) {
    calls.transform = &transform;
    calls.check = check_of<T, Transform>();
    set_edits<T, Transform>(calls, isa);
    calls.apply_matrix = &apply_transform_matrix<T, Transform>;
  }
  return calls;
}

/// What low precision changes in a call: defined by attention/low_precision.hpp, without which
/// nobody compiles it.
template <class T>
void set_low_precision(attention_call<T>& c, const low_precision& p);

/// False for a score that promises to leave Q and K as they are.
template <class Score>
[[nodiscard]] constexpr bool may_project() {
  if constexpr (requires { Score::projects; })
    return Score::projects;
  else
    return true;
}

/// The policies of a call by kind, and what they say behind functions; which functions run it is
/// said by set_kernels().
template <class T, class... Ps>
class stated_policies {
 public:
  static constexpr bool has_options = (is_options<Ps> || ...);
  static constexpr bool has_sequences = (is_sequences<Ps> || ...);
  using score_type =
      decltype(policy_or<score_kind>(scores::scaled_dot{}, std::declval<const Ps&>()...));

  stated_policies(const char* where, const Ps&... ps)
      : stated_policies(layer_call_of(where, ps...), ps...) {}
  /// Of a part of a call: the executor and the options, if any, are those of the whole.
  stated_policies(const layer_call& whole, const Ps&... ps)
      : score_(policy_or<score_kind>(scores::scaled_dot{}, ps...)),
        transforms_(transforms_of(ps...)),
        mask_(policy_or<mask_kind>(masks::none{}, ps...)) {
    static_cast<layer_call&>(said_) = whole;
    const heads given = heads_of(ps...);
    said_.query_heads = given.query;
    said_.kv_heads = given.kv_or_query();
    said_.place = value_of<frame>(ps...);
    said_.packed_rows = value_of<segments>(ps...);
    if constexpr ((std::is_same_v<Ps, padded_batch> || ...))
      said_.padded_rows = value_of<padded_batch>(ps...);
    if constexpr (has_sequences) said_.place_sequences = &place_sequences<T>;
    said_.policy.mask = calls_of_mask<T>(mask_, said_.isa);
    said_.policy.transform = calls_of_transform<T>(transforms_, said_.isa);
    if constexpr (may_project<score_type>()) said_.inputs = &make_inputs<T>;
    if constexpr ((is_dropout<Ps> || ...)) {
      dropout_ = value_of<dropout>(ps...);
      said_.policy.weight = calls_of_dropout<T>(said_.where, dropout_, said_.isa);
    }
    if constexpr ((is_low_precision<Ps> || ...)) {
      static_assert(std::is_same_v<T, float> && !is_additive,
                    "softlook: low_precision{…} rounds the products of float in attention with dot "
                    "scores");
      set_low_precision(said_, value_of<low_precision>(ps...));
    }
    if constexpr ((is_sinks<Ps> || ...)) said_.sinks = calls_of_sinks<T>(sinks_of(ps...));
  }
  stated_policies(const stated_policies&) = delete;
  stated_policies& operator=(const stated_policies&) = delete;

  static constexpr bool is_additive = score_type::is_additive;
  static constexpr bool projects = may_project<score_type>();

  /// The kernels within a call's reach; the naive one if some options may ask for it.
  template <reach Reach, bool may_be_naive>
  static void set_kernels(call_policies<T>& call) {
    if constexpr (has_sequences) {
      call.forward = &run_sequences<is_additive, Reach, T>;
      if constexpr (may_be_naive) call.naive = &run_naive_sequences<is_additive, T>;
    } else {
      call.forward = &run_forward<is_additive, Reach, T>;
      if constexpr (may_be_naive) call.naive = &run_naive<is_additive, T>;
    }
  }

  [[nodiscard]] const call_policies<T>& operator*() const { return said_; }
  [[nodiscard]] const auto& transforms() const { return transforms_; }

  /// The call of these matrices, checked but for its output. Keys and values that are not T have
  /// sources, and views without data.
  [[nodiscard]] attention_call<T> bind(const matrix_view<T>& Q, const matrix_view<T>& K,
                                       const matrix_view<T>& V, const row_source<T>& keys,
                                       const row_source<T>& values) const {
    attention_call<T> c(**this);
    place(c, Q, K, V, keys, values);
    return c;
  }
  /// The same for the only call of these policies, which is made where they are: half of what a
  /// tiny call takes is copies.
  [[nodiscard]] attention_call<T>& bind_here(const matrix_view<T>& Q, const matrix_view<T>& K,
                                             const matrix_view<T>& V, const row_source<T>& keys,
                                             const row_source<T>& values) {
    place(said_, Q, K, V, keys, values);
    return said_;
  }
  [[nodiscard]] attention_call<T> bind(const matrix_view<T>& Q, const matrix_view<T>& K,
                                       const matrix_view<T>& V) const {
    const row_functions<T>& read = stored_rows_of<T, T>(said_.isa);
    return bind(Q, K, V, source_of<T>(K, read), source_of<T>(V, read));
  }

 protected:
  score_type score_;
  decltype(transforms_of(std::declval<const Ps&>()...)) transforms_;
  decltype(policy_or<mask_kind>(masks::none{}, std::declval<const Ps&>()...)) mask_;
  dropout dropout_;
  attention_call<T> said_;  // its matrices: see bind_here()

 private:
  void place(attention_call<T>& c, const matrix_view<T>& Q, const matrix_view<T>& K,
             const matrix_view<T>& V, const row_source<T>& keys,
             const row_source<T>& values) const {
    c.Q = Q;
    c.K = K;
    c.V = V;
    c.key_rows = keys;
    c.value_rows = values;
    if constexpr ((is_low_precision<Ps> || ...))
      if (c.round_rows) c.round_rows(c);
    check_heads(c);
    c.score = score_.template recipe<T>(c.where, c.query_features(), c.key_features());
    check_call(c);
  }
};

/// The same, ready to be run.
template <class T, class... Ps>
class sorted_policies : public stated_policies<T, Ps...> {
  using stated = stated_policies<T, Ps...>;

 public:
  sorted_policies(const char* where, const Ps&... ps) : stated(where, ps...) {
    stated::template set_kernels<reach::any, stated::has_options>(this->said_);
  }
  template <bool has_options>
  sorted_policies(const layer_call& whole, std::bool_constant<has_options>, const Ps&... ps)
      : stated(whole, ps...) {
    stated::template set_kernels<reach::any, has_options>(this->said_);
  }
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
