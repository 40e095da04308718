// Scores, masks and transforms behind one type each: the combination is chosen at run time, so
// hundreds of combinations cost one instantiation of the kernels.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "softlook/core/concepts.hpp"
#include "softlook/mask/none.hpp"
#include "softlook/score/recipe.hpp"
#include "softlook/transform/transforms.hpp"

namespace softlook_test {

struct mask_interface {
  virtual ~mask_interface() = default;
  virtual bool allows(std::int32_t i, std::int32_t j, softlook::problem size) const = 0;
  virtual softlook::range key_range(softlook::range q, softlook::problem size) const = 0;
  virtual softlook::coverage coverage_of(softlook::range q, softlook::range k,
                                         softlook::problem size) const = 0;
};

template <class Mask>
struct held_mask final : mask_interface {
  explicit held_mask(Mask m) : mask(std::move(m)) {}
  Mask mask;
  bool allows(std::int32_t i, std::int32_t j, softlook::problem size) const override {
    return mask.allows(i, j, size);
  }
  softlook::range key_range(softlook::range q, softlook::problem size) const override {
    return mask.key_range(q, size);
  }
  softlook::coverage coverage_of(softlook::range q, softlook::range k,
                                 softlook::problem size) const override {
    return mask.coverage_of(q, k, size);
  }
};

/// Any mask, as a user's mask type would be written. A view of an owner that outlives it.
struct any_mask {
  using policy_kind = softlook::mask_kind;
  const mask_interface* mask = nullptr;

  bool allows(std::int32_t i, std::int32_t j, softlook::problem size) const {
    return mask->allows(i, j, size);
  }
  softlook::range key_range(softlook::range q, softlook::problem size) const {
    return mask->key_range(q, size);
  }
  softlook::coverage coverage_of(softlook::range q, softlook::range k,
                                 softlook::problem size) const {
    return mask->coverage_of(q, k, size);
  }
};

struct transform_interface {
  virtual ~transform_interface() = default;
  virtual float apply(float s, std::int32_t i, std::int32_t j, softlook::problem) const = 0;
  virtual double apply(double s, std::int32_t i, std::int32_t j, softlook::problem) const = 0;
  virtual long double apply(long double s, std::int32_t i, std::int32_t j,
                            softlook::problem) const = 0;
};

template <class Chain>
struct held_transform final : transform_interface {
  explicit held_transform(Chain c) : chain(std::move(c)) {}
  Chain chain;
  float apply(float s, std::int32_t i, std::int32_t j, softlook::problem size) const override {
    return chain(s, i, j, size);
  }
  double apply(double s, std::int32_t i, std::int32_t j, softlook::problem size) const override {
    return chain(s, i, j, size);
  }
  long double apply(long double s, std::int32_t i, std::int32_t j,
                    softlook::problem size) const override {
    return chain(s, i, j, size);
  }
};

struct any_transform {
  using policy_kind = softlook::transform_kind;
  const transform_interface* transform = nullptr;

  template <class S>
  S operator()(S s, std::int32_t i, std::int32_t j, softlook::problem size) const {
    return transform->apply(s, i, j, size);
  }
};

template <class T>
struct score_interface {
  virtual ~score_interface() = default;
  virtual softlook::detail::score_recipe<T> recipe(const char* where, Eigen::Index query_features,
                                                   Eigen::Index key_features) const = 0;
};

template <class T, class Score>
struct held_score final : score_interface<T> {
  explicit held_score(Score s) : score(std::move(s)) {}
  Score score;
  softlook::detail::score_recipe<T> recipe(const char* where, Eigen::Index query_features,
                                           Eigen::Index key_features) const override {
    return score.template recipe<T>(where, query_features, key_features);
  }
};

template <class T, bool Additive>
struct any_score {
  using policy_kind = softlook::score_kind;
  static constexpr bool is_additive = Additive;
  const score_interface<T>* score = nullptr;

  template <softlook::real_scalar S>
  softlook::detail::score_recipe<S> recipe(const char* where, Eigen::Index query_features,
                                           Eigen::Index key_features) const {
    return score->recipe(where, query_features, key_features);
  }
};

template <class T, class Score>
std::shared_ptr<const score_interface<T>> hold_score(Score score) {
  return std::make_shared<const held_score<T, Score>>(std::move(score));
}

template <class Mask>
std::shared_ptr<const mask_interface> hold_mask(Mask mask) {
  return std::make_shared<const held_mask<Mask>>(std::move(mask));
}

template <class Chain>
std::shared_ptr<const transform_interface> hold_transform(Chain chain) {
  return std::make_shared<const held_transform<Chain>>(std::move(chain));
}

/// At most one transform and one mask of any types as a pair of one type; f(transform, mask).
template <class F, class... Policies>
void with_erased(const F& f, const Policies&... policies) {
  const auto identity = [](auto s, std::int32_t, std::int32_t) { return s; };
  auto transform = hold_transform(softlook::transforms::map(identity));
  auto mask = hold_mask(softlook::masks::none{});
  const auto take = [&](const auto& policy) {
    if constexpr (softlook::mask_policy<std::remove_cvref_t<decltype(policy)>>)
      mask = hold_mask(policy);
    else
      transform = hold_transform(policy);
  };
  (take(policies), ...);
  f(any_transform{transform.get()}, any_mask{mask.get()});
}

}  // namespace softlook_test
