# The checks of the tree itself as tests, and the groups of tests that the sanitizer builds run.
#
# Labels: unit (beside each room), check (with every `make check`), full (only `make test`), system and
# browser (whole processes; `make test`). `sanitized` and `threads` choose what runs under sanitizers.
if(NOT SIGHTLINE_FUZZ AND NOT SIGHTLINE_SANITIZE AND NOT SIGHTLINE_COVERAGE)
  set(tools "${PROJECT_SOURCE_DIR}/tools")
  add_test(NAME check/layers COMMAND "${tools}/check_layers.py")
  add_test(NAME check/layers_self_test COMMAND "${tools}/check_layers.py" --self-test)
  add_test(NAME check/format COMMAND "${tools}/format.sh" --check)
  set_tests_properties(check/layers check/layers_self_test check/format PROPERTIES LABELS check)
endif()

# Threads meet in these rooms.
get_property(rooms GLOBAL PROPERTY SIGHTLINE_UNIT_TESTS)
set(sanitized_tests)
set(thread_tests)
foreach(room ${rooms})
  string(REPLACE "/" "_" target "room_${room}_test")
  list(APPEND sanitized_tests ${target})
  if(room MATCHES "^(engine|live|server|connectors/.*)$")
    list(APPEND thread_tests ${target})
  endif()
endforeach()
if(TARGET sightline_sim)
  list(APPEND sanitized_tests sightline_sim)
endif()
add_custom_target(sanitized_tests DEPENDS ${sanitized_tests})
add_custom_target(thread_tests DEPENDS ${thread_tests})
