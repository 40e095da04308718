// Sizes of vectors, and what a forbidden score is.

inline constexpr int vector_bytes = SOFTLOOK_STAMP_BYTES;

template <class T>
inline constexpr int lanes = vector_bytes / int(sizeof(T));

template <class T>
inline constexpr T infinity = sizeof(T) == 4 ? T(__builtin_inff()) : T(__builtin_inf());
