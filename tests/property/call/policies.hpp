// Masks, transforms and options of a random call.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <utility>

#include "softlook/attention.hpp"
#include "tests/property/call/numbers.hpp"

namespace softlook_test::call_case {

struct mask_functions {
  std::function<bool(std::int32_t, std::int32_t, problem)> allows;
  std::function<softlook::range(softlook::range, problem)> key_range;
  std::function<softlook::coverage(softlook::range, softlook::range, problem)> coverage_of;
  std::function<void(const char*, problem)> check;
};

struct any_mask {
  using policy_kind = softlook::mask_kind;
  const mask_functions* mask;

  bool allows(std::int32_t i, std::int32_t j, problem p) const { return mask->allows(i, j, p); }
  softlook::range key_range(softlook::range q, problem p) const { return mask->key_range(q, p); }
  softlook::coverage coverage_of(softlook::range q, softlook::range k, problem p) const {
    return mask->coverage_of(q, k, p);
  }
  void check(const char* where, problem p) const { mask->check(where, p); }
};

template <class Mask>
mask_functions functions_of(const Mask& mask) {
  return {
      [=](std::int32_t i, std::int32_t j, problem p) { return mask.allows(i, j, p); },
      [=](softlook::range q, problem p) { return mask.key_range(q, p); },
      [=](softlook::range q, softlook::range k, problem p) { return mask.coverage_of(q, k, p); },
      [=](const char* where, problem p) { softlook::detail::check_policy(mask, where, p); }};
}

/// A predicate of all that it may be told.
struct scattered {
  unsigned seed, of;
  bool operator()(std::int32_t i, std::int32_t j, problem p) const {
    unsigned h = seed + unsigned(i) * 2654435761U + unsigned(j) * 40503U + unsigned(p.head) * 97U +
                 unsigned(p.sequence) * 193U;
    h ^= h >> 15;
    return h * 2246822519U % of != 0;
  }
};

inline mask_functions mask_of(choices& in, index keys) {
  namespace masks = softlook::masks;
  const auto near = [&] { return or_wild(in, in.integer(-10, 60)); };
  const auto side = [&]() -> std::optional<index> {
    return in.one_in(4) ? std::nullopt : std::optional(or_wild(in, in.integer(0, 40)));
  };
  const auto window = [&] {
    const auto left = side(), right = side();
    return masks::window{.left = left, .right = right, .offset = near()};
  };
  const auto padding = [&] {
    return masks::padding{or_wild(in, in.byte() * std::min<index>(keys, 255) / 255)};
  };
  const auto where = [&] {
    const unsigned seed = in.byte();
    return masks::where(scattered{seed, unsigned(in.integer(1, 4))});
  };
  switch (in.integer(0, 11)) {
    case 1:
      return functions_of(masks::causal{near()});
    case 2:
      return functions_of(masks::causal_top_left{});
    case 3:
      return functions_of(masks::causal_bottom_right{});
    case 4:
      return functions_of(window());
    case 5:
      return functions_of(padding());
    case 6:
      return functions_of(where());
    case 7:
      return functions_of(window() | padding());
    case 8:
      return functions_of(masks::causal_bottom_right{} & where());
    case 9:
      return functions_of(!window());
    case 10:
      return functions_of(window() & padding());
    default:
      return functions_of(masks::none{});
  }
}

/// A chain with numbers that a run decides.
struct any_transform {
  using policy_kind = softlook::transform_kind;
  enum { nothing, scaled, capped, biased, sloped } kind = nothing;
  double number = 1;

  template <class S>
  S operator()(S s, std::int32_t i, std::int32_t j, problem p) const {
    switch (kind) {
      case scaled:
        return S(number) * s;
      case capped:
        return softlook::transforms::soft_cap{number}(s, i, j, p);
      case biased:
        return s + S((unsigned(i) * 7 + unsigned(j) * 3 + unsigned(p.head + p.sequence)) % 11) *
                       S(0.125);
      case sloped:
        return softlook::transforms::alibi{number}(s, i, j, p);
      default:
        return s;
    }
  }
  template <class S = double>
  void check(const char* where, problem p) const {
    if (kind == capped) softlook::transforms::soft_cap{number}.check<S>(where, p);
    if (kind == sloped) softlook::transforms::alibi{number}.check<S>(where, p);
  }
};

inline any_transform transform_of(choices& in) {
  any_transform t;
  constexpr double odd[] = {0, -1, 1e39, NAN, infinity, 1e-39, 1e-45};
  t.kind = in.one_of({any_transform::nothing, any_transform::nothing, any_transform::scaled,
                      any_transform::capped, any_transform::biased, any_transform::sloped});
  t.number = double(in.integer(1, 32)) / 16;
  if ((t.kind == any_transform::capped || t.kind == any_transform::sloped) && in.one_in(24))
    t.number = in.one_of(odd);
  return t;
}

struct sets {
  softlook::options opts;
  bool valid = true;
};

inline sets options_of(choices& in) {
  sets s;
  constexpr double odd[] = {NAN, infinity, 1e39, -1e39};
  constexpr double scales[] = {0, 1, -1, 0.25, 1e-20, 1e-3, 8};
  if (in.one_in(3)) {
    const bool bad = in.one_in(24);
    s.opts.scale = bad ? in.one_of(odd) : in.one_of(scales);
    s.valid = !bad;
  }
  const index kernel = in.integer(0, 4);
  if (kernel < 3) s.opts.kernel = softlook::kernel(kernel);
  const index isa = in.integer(0, 4);
  if (isa < 3) {
    s.opts.isa = softlook::instruction_set(isa);
    s.valid = s.valid && softlook::detail::can_run(*s.opts.isa);
  }
  if (in.one_in(3)) {
    const index keys = or_wild(in, in.integer(1, 80)), queries = or_wild(in, in.integer(1, 6));
    s.opts.tile = {keys, queries};
    s.valid = s.valid && keys >= 1 && keys <= softlook::detail::max_key_tile && queries >= 1 &&
              queries <= softlook::detail::max_query_tiles;
  }
  return s;
}

}  // namespace softlook_test::call_case
