# Run as  cmake -DINCLUDE_DIR=<include> -P CheckLayers.cmake.  Fails when a header includes a softlook
# header of its own or a higher layer, one that does not exist, or a file this list does not know.
# The first pattern that matches a file decides; lines of a lower rank may be used by all above it.
# Siblings of one rank never include each other, so core/ and detail/ have one rank per file group.
set(layers
  "0.00 core/version"
  "0.01 core/config"
  "0.02 core/types"
  "0.03 core/concepts"
  "0.04 core/error"
  "0.05 core/[a-z_]+"
  "1.00 mask/(none|causal|window|padding|block_sparse|dense|dilated|global_tokens|of_heads|segment|where)"
  "1.00 score/(dot|general|additive|trilinear|transform|t5_bias)"
  "1.00 exec/[a-z_]+"
  "1.00 state"
  "1.01 mask/combine"
  "1.02 mask/patterns"
  "1.98 detail/stamped/simd/operators"
  "1.99 detail/stamped/simd/[a-z0-9_]+"
  "2.02 detail/stamped/set"
  "2.01 detail/stamped/kernels"
  "2.00 detail/stamped/[a-z_]+"
  "2.10 detail/(kernel_args|instantiate|drawing|report_page|report_script|report_lines)"
  "2.15 detail/linear_args"
  "2.20 detail/dispatch"
  "2.30 detail/(entmax_row|joined|materialised|plan|tasks)"
  "2.35 detail/(product|monotonic_rows)"
  "2.36 detail/input_product"
  "2.37 detail/forward_call"
  "2.40 detail/(forward|packed_linear)"
  "2.45 detail/entmax_forward"
  "2.50 detail/call"
  "2.60 detail/(decoder|layer|extra_keys|positions|linear_random|placed)"
  "2.62 detail/layer_policies"
  "2.65 detail/linear_forward"
  "2.66 detail/linear_call"
  "2.65 detail/feature_map"
  "2.70 detail/(attention_block|feed_forward|later_rows|local_windows|nystrom)"
  "2.80 detail/(decoder_rows|key_store)"
  "2.90 layer"
  "3.00 (attention|projection|layer_norm|additive|multiplicative|linear|random_features|decode|gradients|positional|recurrent_cell|beam_search)"
  "3.10 (decomposable|entmax|hard|local|location|monotonic)"
  "3.90 detail/layer_stack"
  "4.00 (multi_head|seq2seq|inspect)"
  "4.10 (inspect_report|linformer|nystromformer|positional_attention|vision_[a-z_]+)"
  "4.20 vision"
  "4.90 transformer_layer"
  "5.00 transformer_(encoder|decoder_layer)"
  "5.10 transformer_decoder"
  "5.20 transformer"
  "6.00 softlook")

function(rank_of file out)
  foreach(entry IN LISTS layers)
    if(entry MATCHES "^([0-9.]+) (.+)$")
      set(rank "${CMAKE_MATCH_1}")
      if("${file}" MATCHES "^${CMAKE_MATCH_2}\\.(hpp|inl)$")
        set(${out} "${rank}" PARENT_SCOPE)
        return()
      endif()
    endif()
  endforeach()
  set(${out} "" PARENT_SCOPE)
endfunction()

set(faults 0)
macro(fault text)
  message("${text}")
  math(EXPR faults "${faults} + 1")
endmacro()

get_filename_component(root "${INCLUDE_DIR}/softlook" ABSOLUTE)
file(GLOB_RECURSE files RELATIVE "${root}" "${root}/*.hpp" "${root}/*.inl")
foreach(file IN LISTS files)
  rank_of("${file}" rank)
  if(rank STREQUAL "")
    fault("softlook/${file}: belongs to no layer; add it to cmake/CheckLayers.cmake")
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
    elseif(file MATCHES "^detail/stamped/" AND NOT target MATCHES "^softlook/detail/stamped/")
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
    rank_of("${target}" target_rank)
    if(target_rank STREQUAL "")
      continue()  # reported when its own turn comes
    endif()
    # The kernels know what a policy is, never which one; call.hpp names the defaults.
    if(file MATCHES "^detail/" AND NOT file STREQUAL "detail/call.hpp"
       AND target MATCHES "^(mask|score|exec)/")
      fault("softlook/${file}: detail/ names a concrete policy, softlook/${target}")
    elseif(NOT target_rank LESS rank)
      fault("softlook/${file} (layer ${rank}) includes softlook/${target} (layer ${target_rank})")
    endif()
  endforeach()
endforeach()

list(LENGTH files count)
if(count EQUAL 0)
  message(FATAL_ERROR "no headers below ${root}")
elseif(faults GREATER 0)
  message(FATAL_ERROR "${faults} faults in the direction of includes")
endif()
message("${count} headers, all includes point to lower layers")
