# Run as  cmake -DINCLUDE_DIR=<include> -P CheckLayers.cmake.  Fails when a header includes one of a
# higher room, or of a room beside its own, when headers of one room include each other in a circle,
# when private headers are used from outside, or when a header is in no room.

# Rank and room. A header includes headers of its own room and of rooms with a lower rank.
set(rooms
  "0 core"
  "1 mask"
  "1 score"
  "1 transform"
  "1 exec"
  "2 engine/stamped"
  "3 engine/kernels"
  "4 engine/run"
  "5 engine/call"
  "6 attention"
  "6 cache"
  "6 linear"
  "6 position"
  "6 inspect"
  "7 layer"
  "8 transformer"
  "8 seq2seq"
  "8 vision"
  "8 onnx"
  "9 gradient"
  "10 mpi")
# Front doors, at the top level: above all rooms.
set(doors attention cache low_precision gradients eigen_tensor linear layers transformer seq2seq vision onnx positional inspect mpi)
set(door_rank 11)

# <room>/detail is for the room alone. The layers of a Transformer are made of the same parts as a
# multi-head layer: attention_block, feed_forward, layer_stack. The way back checks weights and turns
# rows as the way forward does.
set(may_use_private "transformer of layer" "gradient of layer" "gradient of vision")

# The engine and private headers know what a policy is, never which one; these do, and why:
#   engine/call    names the defaults of a call: no mask, scaled dot scores, sequential
#   score/recipe   says what a score wants of the engine: data, no policy
set(may_name_policies "^engine/call/")
set(no_policies "^score/recipe\\.hpp$")

set(faults 0)
macro(fault text)
  message("${text}")
  math(EXPR faults "${faults} + 1")
endmacro()

# The room of a file and its rank, or "" for both.
function(room_of file room_out rank_out)
  set(${room_out} "" PARENT_SCOPE)
  set(${rank_out} "" PARENT_SCOPE)
  if(file STREQUAL "softlook.hpp")
    math(EXPR rank "${door_rank} + 1")
    set(${room_out} "softlook" PARENT_SCOPE)
    set(${rank_out} ${rank} PARENT_SCOPE)
    return()
  elseif(file MATCHES "^([a-z0-9_]+)\\.hpp$")
    set(door "${CMAKE_MATCH_1}")
    if(door IN_LIST doors)
      set(${room_out} "door ${door}" PARENT_SCOPE)
      set(${rank_out} ${door_rank} PARENT_SCOPE)
    endif()
    return()
  endif()
  foreach(entry IN LISTS rooms)
    string(REGEX MATCH "^([0-9]+) (.+)$" matched "${entry}")
    set(rank ${CMAKE_MATCH_1})
    set(room "${CMAKE_MATCH_2}")
    string(FIND "${file}" "${room}/" at)
    if(at EQUAL 0)
      set(${room_out} "${room}" PARENT_SCOPE)
      set(${rank_out} ${rank} PARENT_SCOPE)
      return()
    endif()
  endforeach()
endfunction()

get_filename_component(root "${INCLUDE_DIR}/softlook" ABSOLUTE)
file(GLOB_RECURSE files RELATIVE "${root}" "${root}/*.hpp" "${root}/*.inl")
foreach(file IN LISTS files)
  string(MAKE_C_IDENTIFIER "${file}" id)
  set(uses_${id} "")
  room_of("${file}" room rank)
  if(room STREQUAL "")
    fault("softlook/${file}: is in no room; add the room to cmake/CheckLayers.cmake")
    continue()
  endif()
  file(STRINGS "${root}/${file}" lines REGEX "^[ \t]*#[ \t]*include")
  foreach(line IN LISTS lines)
    if(NOT line MATCHES "include[ \t]*[<\"]([^>\"]+)[>\"]")
      continue()
    endif()
    set(target "${CMAKE_MATCH_1}")
    if(target MATCHES "^Eigen/src/|^unsupported/|^Eigen/(ThreadPool|CXX11)")
      fault("softlook/${file}: includes <${target}>, which Eigen does not promise to keep")
      continue()
    elseif(room STREQUAL "engine/stamped" AND NOT target MATCHES "^softlook/engine/stamped/")
      # Another translation unit may share what such headers define (design: one special room).
      if(NOT target MATCHES "^(immintrin|arm_neon)\\.h$")
        fault("softlook/${file}: the stamped room includes ${target} from outside")
      endif()
      continue()
    elseif(NOT target MATCHES "^softlook/(.+)$")
      if(line MATCHES "\"")
        fault("softlook/${file}: write \"softlook/...\" instead of \"${target}\"")
      endif()
      continue()
    endif()
    set(target "${CMAKE_MATCH_1}")
    if(NOT EXISTS "${root}/${target}")
      fault("softlook/${file}: includes softlook/${target}, which does not exist")
      continue()
    endif()
    room_of("${target}" target_room target_rank)
    if(target_room STREQUAL "")
      continue()  # reported when its own turn comes
    endif()
    if(target_room STREQUAL room)
      list(APPEND uses_${id} "${target}")
      continue()
    endif()
    set(private FALSE)
    if(target MATCHES "^([a-z0-9_]+)/detail/")
      set(use "${room} of ${CMAKE_MATCH_1}")
      if(NOT use IN_LIST may_use_private)
        set(private TRUE)
      endif()
    endif()
    if(private)
      fault("softlook/${file}: softlook/${target} is private to its room")
    elseif(file MATCHES "^engine/|/detail/" AND NOT file MATCHES "${may_name_policies}"
           AND target MATCHES "^(mask|score|transform|exec)/" AND NOT target MATCHES "${no_policies}")
      fault("softlook/${file}: names a concrete policy, softlook/${target}")
    elseif(NOT target_rank LESS rank)
      fault("softlook/${file} (${room}, rank ${rank}) includes softlook/${target} (${target_room}, rank ${target_rank})")
    endif()
  endforeach()
endforeach()

# What neither includes a file that is left nor is included by one is on no circle.
set(left ${files})
set(before 0)
list(LENGTH left count)
while(NOT count EQUAL before)
  set(before ${count})
  set(used "")
  foreach(file IN LISTS left)
    string(MAKE_C_IDENTIFIER "${file}" id)
    list(APPEND used ${uses_${id}})
  endforeach()
  set(next "")
  foreach(file IN LISTS left)
    string(MAKE_C_IDENTIFIER "${file}" id)
    set(uses FALSE)
    foreach(target IN LISTS uses_${id})
      if(target IN_LIST left)
        set(uses TRUE)
      endif()
    endforeach()
    if(uses AND file IN_LIST used)
      list(APPEND next "${file}")
    endif()
  endforeach()
  set(left ${next})
  list(LENGTH left count)
endwhile()
if(left)
  list(JOIN left " " left)
  fault("softlook/: these include each other in a circle: ${left}")
endif()

list(LENGTH files count)
if(count EQUAL 0)
  message(FATAL_ERROR "no headers below ${root}")
elseif(faults GREATER 0)
  message(FATAL_ERROR "${faults} faults in the direction of includes")
endif()
message("${count} headers, all includes point to lower rooms")
