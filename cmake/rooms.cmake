# Threads meet in these rooms: their unit tests also run under ThreadSanitizer.
set(SIGHTLINE_THREADED_ROOMS
    "^(engine|connectors/.*|live|query|workers|server|history|telemetry|processes)$")

# One library a room. Links are private, so a room sees only the rooms it names; every room may
# include "room/header.h" from src/. tools/check_layers.py enforces the same arrows on #include lines.
#
#   sightline_room(model LINKS base EXTERNAL fmt::fmt)
#
# takes every *.cc beside the CMakeLists.txt but main.cc; *_test.cc become the test program
# <room>_test. Tests that mostly wait run as SHARDS tests of ctest, side by side.
function(sightline_room name)
  cmake_parse_arguments(ROOM "" "SHARDS" "LINKS;EXTERNAL;TEST_LINKS;TEST_EXTERNAL;UNTRACED_TESTS" ${ARGN})
  string(REPLACE "/" "_" target "room_${name}")
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cc")
  file(GLOB headers CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.h")
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "(_test|/main)\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  # Tests that run a library which ThreadSanitizer does not see into: it would report what that library
  # orders with atomics of its own.
  if(SIGHTLINE_SANITIZE MATCHES "thread")
    foreach(test ${ROOM_UNTRACED_TESTS})
      list(REMOVE_ITEM tests "${CMAKE_CURRENT_SOURCE_DIR}/${test}")
    endforeach()
  endif()

  # Self-contained headers: x.h is the first include of x.cc and x_test.cc (tools/check_layers.py sees
  # to it). A header that has neither is the only include of a file that is compiled for it.
  set(alone)
  foreach(header ${headers})
    string(REGEX REPLACE "\\.h$" "" base "${header}")
    if(EXISTS "${base}.cc" OR EXISTS "${base}_test.cc")
      continue()
    endif()
    file(RELATIVE_PATH relative "${PROJECT_SOURCE_DIR}/src" "${header}")
    string(REPLACE "/" "_" stem "${relative}")
    set(file "${PROJECT_BINARY_DIR}/headers/${stem}.cc")
    if(NOT EXISTS "${file}")
      file(WRITE "${file}" "#include \"${relative}\"\n")
    endif()
    list(APPEND alone "${file}")
  endforeach()

  add_library(${target} STATIC ${sources} ${headers} "${PROJECT_SOURCE_DIR}/cmake/empty.cc")
  target_include_directories(${target} PUBLIC "${PROJECT_SOURCE_DIR}/src")
  # A file is a process, a command or a store, with names of its own.
  if(name MATCHES "^(processes|admin|cli|connectors/storage)$")
    set_target_properties(${target} PROPERTIES UNITY_BUILD OFF)
  endif()
  if(alone)
    add_library(${target}_headers OBJECT EXCLUDE_FROM_ALL ${alone})
    target_include_directories(${target}_headers PRIVATE "${PROJECT_SOURCE_DIR}/src")
    target_compile_options(${target}_headers PRIVATE -O0 -g0)
    set_target_properties(${target}_headers PROPERTIES UNITY_BUILD OFF)
    set_property(GLOBAL APPEND PROPERTY SIGHTLINE_HEADER_TARGETS ${target}_headers)
  endif()
  foreach(link ${ROOM_LINKS})
    string(REPLACE "/" "_" link "room_${link}")
    target_link_libraries(${target} PRIVATE ${link})
    if(alone)
      target_link_libraries(${target}_headers PRIVATE ${link})
    endif()
  endforeach()
  target_link_libraries(${target} PRIVATE ${ROOM_EXTERNAL})
  if(alone)
    target_link_libraries(${target}_headers PRIVATE ${ROOM_EXTERNAL})
  endif()
  if(tests)
    add_executable(${target}_test ${tests})
    target_compile_options(${target}_test PRIVATE -O0)  # What they test is optimised.
    target_link_libraries(${target}_test PRIVATE ${target} ${ROOM_EXTERNAL} ${ROOM_TEST_EXTERNAL}
                          GTest::gtest GTest::gmock GTest::gtest_main)
    foreach(link ${ROOM_TEST_LINKS})
      string(REPLACE "/" "_" link "room_${link}")
      target_link_libraries(${target}_test PRIVATE ${link})
    endforeach()
    set(labels unit)
    if(name MATCHES "${SIGHTLINE_THREADED_ROOMS}")
      list(APPEND labels threads)
    endif()
    list(LENGTH tests cost)  # The longest begin first; those with many files are.
    if(NOT ROOM_SHARDS)
      set(ROOM_SHARDS 1)
    endif()
    foreach(shard RANGE 1 ${ROOM_SHARDS})
      set(test unit/${name})
      set(report)
      if(ROOM_SHARDS GREATER 1)  # tools/suites.py names a folder for the reports
        string(APPEND test /${shard})
        set(report "GTEST_OUTPUT=string_append:${target}_${shard}.xml")
      endif()
      math(EXPR index "${shard} - 1")
      math(EXPR share "${cost} / ${ROOM_SHARDS}")
      add_test(NAME ${test} COMMAND ${target}_test)
      set_tests_properties(${test} PROPERTIES LABELS "${labels}" COST ${share} ENVIRONMENT
          "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/cmake/tsan.supp;GTEST_TOTAL_SHARDS=${ROOM_SHARDS};GTEST_SHARD_INDEX=${index}"
          ENVIRONMENT_MODIFICATION "${report}")
    endforeach()
    set_property(GLOBAL APPEND PROPERTY SIGHTLINE_UNIT_TESTS ${name})
  endif()
endfunction()
