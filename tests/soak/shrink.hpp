// Makes the list of decisions of a failing case small: fewer of them, and nearer to 0.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace softlook_soak {

using decisions = std::vector<std::uint64_t>;

/// The decisions that a failing run took, which may be fewer and smaller than those it was given;
/// nothing if it passed.
using attempt = std::function<std::optional<decisions>(const decisions&)>;

class shrinker {
 public:
  /// \param most  attempts.
  shrinker(attempt fails, int most) : fails_(std::move(fails)), left_(most) {}

  /// A list that fails and of which no part can be left out, and no number lowered, as far as the
  /// attempts reach.
  decisions operator()(decisions from) {
    best_ = std::move(from);
    bool changed = true;
    while (changed && left_ > 0) {
      changed = shorten();
      for (std::size_t length = 16; length > 0; length /= 2) changed = leave_out(length) || changed;
      changed = lower() || changed;
    }
    return best_;
  }

 private:
  bool take(const decisions& other) {
    if (left_-- <= 0) return false;
    auto taken = fails_(other);
    if (!taken) return false;
    while (!taken->empty() && taken->back() == 0) taken->pop_back();  // as behind the end
    best_ = std::move(*taken);
    return true;
  }

  bool shorten() {
    bool changed = false;
    for (std::size_t cut = best_.size() / 2; cut > 0; cut /= 2)
      while (best_.size() >= cut && take({best_.begin(), best_.end() - std::ptrdiff_t(cut)}))
        changed = true;
    return changed;
  }

  bool leave_out(std::size_t length) {
    bool changed = false;
    for (std::size_t at = 0; at + length <= best_.size();) {
      decisions other = best_;
      const auto first = other.begin() + std::ptrdiff_t(at);
      other.erase(first, first + std::ptrdiff_t(length));
      if (take(other))
        changed = true;
      else
        at += length;
    }
    return changed;
  }

  bool with(std::size_t at, std::uint64_t value) {
    decisions other = best_;
    other[at] = value;
    return take(other);
  }

  /// Each number: 0, or the least that a search by halves finds.
  bool lower() {
    bool changed = false;
    for (std::size_t at = 0; at < best_.size() && left_ > 0; ++at) {
      if (best_[at] == 0) continue;
      if (with(at, 0)) {
        changed = true;
        continue;
      }
      std::uint64_t passes = 0;
      while (at < best_.size() && best_[at] - passes > 1 && left_ > 0) {
        const std::uint64_t middle = passes + (best_[at] - passes) / 2;
        if (with(at, middle))
          changed = true;
        else
          passes = middle;
      }
    }
    return changed;
  }

  attempt fails_;
  int left_;
  decisions best_;
};

}  // namespace softlook_soak
