#pragma once

#include <cstddef>
#include <string>
#include <type_traits>
#include <vector>

#include "softlook/core/concepts.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup core
/// \{

/// The weights of a layer: a struct with a static visit(f, p…) that hands the same member of each
/// of several of them to f, with its name: matrices, structs of weights, vectors of these, and
/// settings, which are everything else.
template <class P>
concept parameter_struct = requires(std::remove_cvref_t<P>& p) {
  std::remove_cvref_t<P>::visit([](const char*, auto&) {}, p);
};

namespace detail {

template <class X>
inline constexpr bool is_parameter_list = false;
template <class P>
inline constexpr bool is_parameter_list<std::vector<P>> = parameter_struct<P>;

/// f(name, matrices…) for each matrix, g(name, settings…) for each setting.
template <class F, class G, class P, class... Ps>
void walk_parameters(const std::string& name, const F& f, const G& g, P& first, Ps&... others) {
  using plain = std::remove_cvref_t<P>;
  if constexpr (dense_expression<plain>) {
    f(name, first, others...);
  } else if constexpr (parameter_struct<plain>) {
    plain::visit(
        [&](const char* member, auto& m, auto&... ms) {
          walk_parameters(name.empty() ? std::string(member) : name + "." + member, f, g, m, ms...);
        },
        first, others...);
  } else if constexpr (is_parameter_list<plain>) {
    for (std::size_t k = 0; k < first.size(); ++k)
      walk_parameters(name + "." + std::to_string(k), f, g, first[k], others[k]...);
  } else {
    g(name, first, others...);
  }
}

/// Whether all matrices of one are of the shapes of the other's; without a name, so without memory.
template <class P>
[[nodiscard]] bool same_shapes(const P& a, const P& b) {
  bool same = true;
  if constexpr (dense_expression<P>) {
    same = a.rows() == b.rows() && a.cols() == b.cols();
  } else if constexpr (parameter_struct<P>) {
    P::visit([&](const char*, const auto& of_a,
                 const auto& of_b) { same = same && same_shapes(of_a, of_b); },
             a, b);
  } else if constexpr (is_parameter_list<P>) {
    same = a.size() == b.size();
    for (std::size_t k = 0; same && k < a.size(); ++k) same = same_shapes(a[k], b[k]);
  }
  return same;
}

}  // namespace detail

/// f(name, matrix) for every matrix of weights, or f(name, matrices…) for the same matrix of
/// several structs of one kind, whose matrices may differ in scalar type:
///   for_each_parameter(f, weights, gradients)
/// Names are those of members, with dots between them: "self_attention.Wq", "layers.0.W1".
/// Optimisers, files and checks are written with it.
template <class F, class P, class... Ps>
  requires(parameter_struct<P> && (parameter_struct<Ps> && ...))
void for_each_parameter(const F& f, P&& first, Ps&&... others) {
  detail::walk_parameters({}, f, [](const std::string&, const auto&...) {}, first, others...);
}

/// The number of weights.
template <parameter_struct P>
[[nodiscard]] index parameter_count(const P& p) {
  index count = 0;
  for_each_parameter([&](const std::string&, const auto& m) { count += m.size(); }, p);
  return count;
}

/// The same shapes and settings, all zeros: where gradients are added up.
template <parameter_struct P>
[[nodiscard]] P zeros_like(const P& p) {
  P zeros = p;
  for_each_parameter([](const std::string&, auto& m) { m.setZero(); }, zeros);
  return zeros;
}

namespace detail {

/// Lists get their length before they are walked.
template <class P, class U>
void match_lists(P& to, const U& from) {
  if constexpr (parameter_struct<P>)
    P::visit([](const char*, auto& a, const auto& b) { match_lists(a, b); }, to, from);
  else if constexpr (is_parameter_list<P>) {
    to.resize(from.size());
    for (std::size_t k = 0; k < to.size(); ++k) match_lists(to[k], from[k]);
  }
}

}  // namespace detail

/// The same weights in another scalar type, cast_parameters<double>(p); settings are kept where
/// their type does not depend on it.
template <class To, template <class> class P, class From>
  requires parameter_struct<P<From>>
[[nodiscard]] P<To> cast_parameters(const P<From>& p) {
  P<To> out{};
  detail::match_lists(out, p);
  detail::walk_parameters(
      {}, [](const std::string&, auto& a, const auto& b) { a = b.template cast<To>(); },
      [](const std::string&, auto& a, const auto& b) {
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(a)>,
                                     std::remove_cvref_t<decltype(b)>>)
          a = b;
      },
      out, p);
  return out;
}

/// \}

SOFTLOOK_NAMESPACE_END
