// Keys of additive scores that were packed ahead give what keys packed in the call give.
#include "tests/support/kernels.hpp"
//
#include <gtest/gtest.h>

#include "softlook/seq2seq/detail/decoder_memory.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/random.hpp"
#include "tests/support/scalars.hpp"

namespace softlook::detail::packed_keys_test {
namespace {

using namespace softlook_test;

template <class T>
class PackedKeys : public ::testing::Test {
 protected:
  generator random = seed(741);

  /// Output and weights of additive scores by the few-query kernel.
  decoder_step<T> run(const row_major<T>& Q, const row_major<T>& K, const row_major<T>& V,
                      const Eigen::Matrix<T, Eigen::Dynamic, 1>& v, instruction_set isa,
                      const packed_keys<T>& keys) const {
    decoder_step<T> out{row_major<T>(Q.rows(), V.cols()), row_major<T>(Q.rows(), K.rows())};
    const masks::none everything;
    options o;
    o.isa = isa;
    o.kernel = kernel::few_queries;
    const sorted_policies<T, scores::additive_projected<T>, masks::none, options> sorted(
        "attention", scores::additive_projected{v}, everything, o);
    attention_call<T> call = sorted.bind(view_of(Q), view_of(K), view_of(V));
    call.O = writable_view(out.context);
    call.weights = writable_view(out.weights);
    keys.lend(call);
    EXPECT_EQ(call.packed != nullptr, &keys != &none);
    softlook::detail::run(call);
    return out;
  }

  void expect_same(index queries, index keys, T magnitude) {
    const index a = 19, e = 5;
    const row_major<T> Q = random_matrix<row_major<T>>(queries, a, random) * magnitude;
    const row_major<T> K = random_matrix<row_major<T>>(keys, a, random) * magnitude;
    const auto V = random_matrix<row_major<T>>(keys, e, random);
    const auto v = random_matrix<Eigen::Matrix<T, Eigen::Dynamic, 1>>(a, 1, random);
    for (const instruction_set isa : available_instruction_sets()) {
      const packed_keys<T> packed(view_of(K), isa);
      const auto with = run(Q, K, V, v, isa, packed), without = run(Q, K, V, v, isa, none);
      EXPECT_TRUE(bitwise_equal(with.context, without.context)) << name_of(isa);
      EXPECT_TRUE(bitwise_equal(with.weights, without.weights)) << name_of(isa);
    }
  }

  const packed_keys<T> none;
};
TYPED_TEST_SUITE(PackedKeys, scalars, scalar_names);

TYPED_TEST(PackedKeys, GiveTheBitsOfKeysPackedInTheCallWhateverTheMagnitudes) {
  for (const double magnitude : {1e-3, 0.2, 1.0, 12.0, 400.0})
    this->expect_same(3, 61, TypeParam(magnitude));
}

TYPED_TEST(PackedKeys, GiveTheBitsOfKeysPackedInTheCallWhateverTheirNumber) {
  for (const index keys : {1, 2, 23, 24, 25, 48, 49, 287, 288, 289, 1200})
    this->expect_same(2, keys, TypeParam(1));
}

TYPED_TEST(PackedKeys, ServeManyQueries) {
  for (const index queries : {1, 4, 5, 8, 9, 16, 17, 40}) this->expect_same(queries, 50, 1);
}

TYPED_TEST(PackedKeys, AreNotLentToAnotherInstructionSet) {
  const auto sets = available_instruction_sets();
  const auto K = random_matrix<row_major<TypeParam>>(9, 4, this->random);
  const packed_keys<TypeParam> packed(view_of(K), sets.front());
  attention_call<TypeParam> call;
  for (const instruction_set isa : sets) {
    call.isa = isa;
    call.packed = nullptr;
    packed.lend(call);
    EXPECT_EQ(call.packed != nullptr, isa == sets.front());
  }
}

}  // namespace
}  // namespace softlook::detail::packed_keys_test
