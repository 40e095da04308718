#pragma once

#include "softlook/core/config.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

// e^{t²}·erfc t = 2·centre/(t + centre) · p(s), s = (t − centre)/(t + centre), on 0 ≤ t ≤ limit:
// interpolation in Chebyshev nodes (the mapping of Shepherd and Laframboise, 1981). Relative error
// 5.3e-8 (float), 4.9e-17 (double), before rounding. Beyond the limit e^{−t²} leaves the range of
// exp.
template <class T>
struct scaled_erfc;
template <>
struct scaled_erfc<float> {
  static constexpr float centre = 2, limit = 9.3f;
  static constexpr float p[] = {-0x1.e92f44p-14f, -0x1.90a8d6p-13f, 0x1.866f50p-11f,
                                0x1.a65ae9p-10f,  -0x1.5ff43fp-8f,  -0x1.2a7d98p-7f,
                                0x1.1e2d2bp-4f,   -0x1.5fd38dp-3f,  0x1.058673p-2f};
};
template <>
struct scaled_erfc<double> {
  static constexpr double centre = 3.75, limit = 26.5;
  static constexpr double p[] = {
      -1.6229539809730111262e-10, 6.5918126995418919817e-10, 4.0753757233842542267e-9,
      -4.4805952123960678725e-9,  -3.3701980971905391423e-8, 3.8532808965767535218e-8,
      2.1986416555495145101e-7,   -4.3948335792246831244e-7, -1.1868200747987233248e-6,
      4.9966182026833107058e-6,   1.4124402630611516108e-6,  -0.000046486353257697332366,
      0.00010597642722860743164,  0.00013151176160931626017, -0.0016714506734079911628,
      0.0065491704803373273227,   -0.017594053490406610638,  0.037208273204587911159,
      -0.065396038827692105152,   0.098175856696231962866,   -0.12783221022038792756,
      0.14558972127503854407};
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
