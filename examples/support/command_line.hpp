#pragma once

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace examples {

/// `--name VALUE` of a command line, and where the value goes.
struct option {
  std::string_view name;
  std::string* value;
};
/// `--name` alone.
struct flag {
  std::string_view name;
  bool* given;
};

/// Takes options where they stand; what is none is a word. False if the command line cannot be
/// understood.
inline bool take_options(int argc, char** argv, std::initializer_list<option> options,
                         std::vector<std::string>& words, std::initializer_list<flag> flags = {}) {
  for (int k = 1; k < argc; ++k) {
    const std::string_view given = argv[k];
    const auto is_given = [given](const auto& o) { return o.name == given; };
    const auto* const known = std::find_if(options.begin(), options.end(), is_given);
    const auto* const alone = std::find_if(flags.begin(), flags.end(), is_given);
    if (known != options.end() && k + 1 < argc)
      *known->value = argv[++k];
    else if (alone != flags.end())
      *alone->given = true;
    else if (known != options.end() || given.starts_with("--"))
      return false;
    else
      words.emplace_back(given);
  }
  return true;
}

/// The number that a text is, from its first character to its last.
template <class Number>
std::optional<Number> number_in(const std::string& text) {
  Number value{};
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, value);
  if (error != std::errc() || end != last) return std::nullopt;
  return value;
}

}  // namespace examples
