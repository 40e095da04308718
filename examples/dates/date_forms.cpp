#include "examples/dates/date_forms.hpp"

#include <array>
#include <cstdio>

#include "examples/training/random.hpp"

namespace dates {
namespace {

constexpr std::array<const char*, 12> months = {"January",   "February", "March",    "April",
                                                "May",       "June",     "July",     "August",
                                                "September", "October",  "November", "December"};
constexpr std::array<const char*, 12> romans = {"I",   "II",   "III", "IV", "V",  "VI",
                                                "VII", "VIII", "IX",  "X",  "XI", "XII"};
constexpr std::array<const char*, 7> weekdays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                 "Thursday", "Friday", "Saturday"};

constexpr std::array<std::string_view, 26> all_forms = {
    "%d %B %Y",    "%o %B %Y",      "%o of %B %Y",        "the %o of %B, %Y", "%B %d, %Y",
    "%B %o, %Y",   "%d %b %Y",      "%b %d, %Y",          "%A, %d %B %Y",     "%A, %B %d, %Y",
    "%a %d %b %Y", "%a, %b %o, %Y", "%A the %o of %B %Y", "%M/%D/%y",         "%m/%d/%Y",
    "%M/%D/%Y",    "%d.%m.%Y",      "%D.%M.%y",           "%Y/%M/%D",         "%Y%M%D",
    "%d-%b-%y",    "%D-%b-%Y",      "%d %b '%y",          "%d %r %Y",         "%Y %B %d",
    "%Y, %b %o"};

std::string two_digits(unsigned n) { return {char('0' + n / 10 % 10), char('0' + n % 10)}; }

std::string ordinal(unsigned n) {
  const bool teen = n / 10 == 1;
  const char* ending = teen || n % 10 > 3 || n % 10 == 0 ? "th"
                       : n % 10 == 1                     ? "st"
                       : n % 10 == 2                     ? "nd"
                                                         : "rd";
  return std::to_string(n) + ending;
}

std::string part(const date& d, char what) {
  const unsigned day = unsigned(d.day()), month = unsigned(d.month());
  const int year = int(d.year());
  const std::string name = months[month - 1];
  const std::string weekday = weekdays[std::chrono::weekday(d).c_encoding()];
  switch (what) {
    case 'd':
      return std::to_string(day);
    case 'D':
      return two_digits(day);
    case 'o':
      return ordinal(day);
    case 'm':
      return std::to_string(month);
    case 'M':
      return two_digits(month);
    case 'b':
      return name.substr(0, 3);
    case 'B':
      return name;
    case 'r':
      return romans[month - 1];
    case 'y':
      return two_digits(unsigned(year));
    case 'Y':
      return std::to_string(year);
    case 'a':
      return weekday.substr(0, 3);
    default:
      return weekday;
  }
}

}  // namespace

date date_of(std::int64_t day) { return std::chrono::sys_days(std::chrono::days(day)); }

std::string iso(const date& d) { return written(d, "%Y-%M-%D"); }

std::span<const std::string_view> forms() { return all_forms; }

std::string written(const date& d, std::string_view form) {
  std::string text;
  for (std::size_t k = 0; k < form.size(); ++k) {
    if (form[k] == '%' && k + 1 < form.size())
      text += part(d, form[++k]);
    else
      text += form[k];
  }
  return text;
}

bool is_unseen(std::int64_t day) {
  constexpr std::int64_t shift = 29;  // with it 3 May 1979, which the pictures show, is unseen
  return examples::generator(static_cast<std::uint64_t>(day + shift)).below(10) == 0;
}

}  // namespace dates
