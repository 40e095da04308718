// The algebra of an online softmax, once for numbers and for vectors of them, one softmax for each
// lane. A state over some keys is the largest of their scores, m, and l = Σ e^{s − m}; what goes
// with it (an output, as Σ e^{s − m} v) is multiplied by the same factors. `Algebra` gives the
// arithmetic: exp may be of another base, as long as scores are in its units.
//   \see Milakov and Gimelshein, 2018; Dao et al., "FlashAttention-2", 2023, algorithm 1.
// Included in each stamped room and, outside of them, by softmax_state.hpp.

template <class Algebra>
struct softmax_state {
  using value = typename Algebra::value;
  value maximum;
  value sum;

  /// Before any key.
  [[nodiscard]] static inline __attribute__((always_inline)) softmax_state init() {
    return {Algebra::nothing(), Algebra::zero()};
  }
  /// e^{m − top}: the factor of what was summed relative to m, once it is relative to `top`. A top
  /// of −∞ (no key yet) counts as 0, so that −∞ − (−∞) never happens.
  [[nodiscard]] inline __attribute__((always_inline)) value weight_below(value top) const {
    return Algebra::exp(maximum - Algebra::finite(top));
  }
  /// More keys: scores up to `top`, which is no less than m, and `added`, their weights relative to
  /// it. Returns the factor of what was summed before.
  inline __attribute__((always_inline)) value absorb(value top, value added) {
    const value factor = weight_below(top);
    sum = Algebra::multiply_add(sum, factor, added);
    maximum = top;
    return factor;
  }
  /// The state joins others whose sum is relative to `top`, the largest maximum of all. Returns the
  /// factor of what goes with it.
  inline __attribute__((always_inline)) value merge_into(value top, value& total) const {
    const value factor = weight_below(top);
    total = Algebra::multiply_add(sum, factor, total);
    return factor;
  }
  /// 1 / l, by which an output is multiplied at the end; 1 without a key.
  [[nodiscard]] inline __attribute__((always_inline)) value finish() const {
    return Algebra::reciprocal_or_one(sum);
  }
};
