#pragma once

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>

namespace examples {

/// "12 s", "3 min 05 s", "2 h 07 min".
inline std::string duration_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e8) return "?";
  const auto s = std::llround(seconds);
  char text[64];
  if (s < 60)
    std::snprintf(text, sizeof text, "%lld s", s);
  else if (s < 3600)
    std::snprintf(text, sizeof text, "%lld min %02lld s", s / 60, s % 60);
  else
    std::snprintf(text, sizeof text, "%lld h %02lld min", s / 3600, s / 60 % 60);
  return text;
}

/// "[#####---------------]  500/2000  loss 0.3100  25.0 steps/s  1 min 00 s left", when the steps
/// from `first` on have taken so many seconds.
inline std::string progress_text(std::int64_t done, std::int64_t steps, std::int64_t first,
                                 double loss, double seconds) {
  constexpr std::int64_t cells = 20;
  const std::int64_t filled =
      steps > 0 ? std::clamp<std::int64_t>(done * cells / steps, 0, cells) : cells;
  std::string text = "[";
  text.append(std::size_t(filled), '#').append(std::size_t(cells - filled), '-') += ']';
  const double rate = seconds > 0 ? double(done - first) / seconds : 0;
  char figures[160];
  std::snprintf(figures, sizeof figures, "  %lld/%lld  loss %.4f  %.1f steps/s  ",
                static_cast<long long>(done), static_cast<long long>(steps), loss, rate);
  return text + figures + duration_text(double(steps - done) / rate) + " left";
}

/// A line in the terminal that is written over ten times a second while a program trains. The loss
/// is smoothed over some 20 steps. Where the stream is no terminal nothing is written.
class progress {
 public:
  /// \param first  the steps that an earlier run has done.
  explicit progress(std::int64_t steps, std::int64_t first = 0, std::FILE* to = stderr)
      : steps_(steps), first_(first), to_(to), shown_(::isatty(::fileno(to)) != 0) {}
  progress(const progress&) = delete;
  progress& operator=(const progress&) = delete;
  ~progress() { finish(); }

  /// After each step: how many are done.
  void show(std::int64_t done, double loss) {
    const bool begun = seen_++ > 0;
    loss_ = begun ? loss_ + (loss - loss_) / std::min(double(seen_), 20.0) : loss;
    if (!shown_ || finished_) return;
    const auto now = clock::now();
    if (begun && done < steps_ && now - last_ < std::chrono::milliseconds(100)) return;
    last_ = now;
    const std::chrono::duration<double> since = now - start_;
    const std::string text = progress_text(done, steps_, first_, loss_, since.count());
    std::fprintf(to_, "\r%s\033[K", text.c_str());
    std::fflush(to_);
  }

  /// Wipes the line, so that other text can follow; the next step draws it again.
  void clear() {
    if (!shown_ || seen_ == 0 || finished_) return;
    std::fprintf(to_, "\r\033[K");
    std::fflush(to_);
    last_ = {};
  }
  /// Wipes the line for good.
  void finish() {
    clear();
    finished_ = true;
  }

  /// The smoothed loss.
  [[nodiscard]] double loss() const { return loss_; }
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(clock::now() - start_).count();
  }

 private:
  using clock = std::chrono::steady_clock;
  std::int64_t steps_, first_;
  std::FILE* to_;
  bool shown_, finished_ = false;
  clock::time_point start_ = clock::now(), last_ = start_;
  std::int64_t seen_ = 0;
  double loss_ = 0;
};

}  // namespace examples
