#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

// Dates as people write them. Nothing that is written here could be another date: slashes mean
// month/day/year, dots day.month.year, and two digits of a year are one of 1970 to 2069.

namespace dates {

using date = std::chrono::year_month_day;

/// From 1 January 1970 to 31 December 2069.
inline constexpr std::int64_t days = 36525;
/// Day number 0, …, days − 1.
date date_of(std::int64_t day);

/// "1979-05-03"
std::string iso(const date& d);

/// "%o of %B %Y": day %d, with two digits %D, "3rd" %o; month %m, with two digits %M, "May" %b and
/// in full %B, in Roman numerals %r; year %Y, its last two digits %y; weekday "Thu" %a, in full %A.
std::span<const std::string_view> forms();
std::string written(const date& d, std::string_view form);

/// One date in ten, in all of its forms, is never trained with. Which ones does not depend on a
/// seed, so that whoever goes on with a training keeps them apart.
bool is_unseen(std::int64_t day);

}  // namespace dates
