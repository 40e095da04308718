// A memory that is written one fact at a time and read with a query: fast weights.  A fact is a key
// and a value; the state S is the same size after every one of them.
//
//   outer products    S ← S + k vᵀ                 what was said of a key before stays in the sum
//   delta rule        S ← S + k (v − Sᵀk)ᵀ         what S says of the key is replaced
//   decay             S ← γ S + k vᵀ               everything fades
//
// Schmidhuber, 1992; Schlag, Irie, Schmidhuber, 2021, Eq. (24); Sun et al., 2023 (retention).
//
// expect: outer products +cat 1\.00 0\.00 +door 1\.00 1\.00
// expect: delta rule +cat 1\.00 0\.00 +door 0\.00 1\.00
// expect: decay 0\.5 +cat 0\.12 0\.00 +door 0\.25 1\.00
// expect: one by one the same: true

#include <cstdio>
#include <softlook/linear.hpp>

int main() {
  using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  namespace gates = softlook::gates;
  namespace updates = softlook::updates;

  // Keys: cat, door, bird. Values: (inside, open).
  const matrix names = matrix::Identity(3, 3);
  matrix K(4, 3), V(4, 2);
  K << names.row(0), names.row(1), names.row(2), names.row(1);
  V << 1, 0,  // the cat is inside
      1, 0,   // the door is inside
      0, 0,   // the bird is neither
      0, 1;   // no: the door is open
  const matrix beta = matrix::Ones(4, 1), half = matrix::Constant(1, 1, 0.5f);

  // Written with the facts, read with the first two names.
  const auto show = [&](const char* rule, const auto&... policies) {
    softlook::linear_state<float> S(3, 2);
    const matrix whole = softlook::fast_weights(K, K, V, S, policies...);
    const matrix read = names.topRows(2) * S.weights();
    std::printf("%-15s cat %.2f %.2f   door %.2f %.2f\n", rule, double(read(0, 0)),
                double(read(0, 1)), double(read(1, 0)), double(read(1, 1)));
    return whole;
  };
  show("outer products");
  const matrix whole = show("delta rule", updates::delta{beta});
  show("decay 0.5", gates::decay{half});

  // A stream: one token in, one row out.
  softlook::linear_state<float> S(3, 2);
  matrix steps(4, 2);
  for (Eigen::Index t = 0; t < 4; ++t)
    steps.row(t) =
        softlook::fast_weights(K.row(t), K.row(t), V.row(t), S, updates::delta{beta.row(t)});
  std::printf("one by one the same: %s\n", steps.isApprox(whole) ? "true" : "false");
}
