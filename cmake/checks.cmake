# The checks of the tree itself as tests, and the groups of tests that the sanitizer builds run.
#
# Labels: unit (beside each room), check (with every `make check`), full (only `make test`), system and
# browser (whole processes; `make test`). `sanitized`, `fuzz` and `threads` choose what the sanitizer
# builds run.
if(NOT SIGHTLINE_SANITIZE AND NOT SIGHTLINE_COVERAGE)
  set(tools "${PROJECT_SOURCE_DIR}/tools")
  add_test(NAME check/layers COMMAND "${tools}/check_layers.py")
  add_test(NAME check/layers_self_test COMMAND "${tools}/check_layers.py" --self-test)
  add_test(NAME check/words COMMAND "${tools}/check_words.py")
  add_test(NAME check/words_self_test COMMAND "${tools}/check_words.py" --self-test)
  add_test(NAME check/suites_self_test COMMAND "${tools}/suites.py" --self-test)
  add_test(NAME check/format COMMAND "${tools}/format.sh" --check)
  add_test(NAME check/lint COMMAND "${tools}/lint.py" "${PROJECT_BINARY_DIR}")
  set(browser "${PROJECT_SOURCE_DIR}/tests/browser")
  add_test(NAME check/page_types COMMAND "${browser}/node_modules/.bin/tsc" --project "${browser}")
  set_tests_properties(check/layers check/layers_self_test check/words check/words_self_test
                       check/suites_self_test check/format check/lint check/page_types PROPERTIES LABELS check)
  set_tests_properties(check/lint PROPERTIES PROCESSORS 2)
endif()

get_property(rooms GLOBAL PROPERTY SIGHTLINE_UNIT_TESTS)
set(sanitized_tests)
set(thread_tests)
foreach(room ${rooms})
  string(REPLACE "/" "_" target "room_${room}_test")
  list(APPEND sanitized_tests ${target})
  if(room MATCHES "${SIGHTLINE_THREADED_ROOMS}")
    list(APPEND thread_tests ${target})
  endif()
endforeach()
foreach(program sightline_sim sightline_golden conformance_test)
  if(TARGET ${program})
    list(APPEND sanitized_tests ${program})
  endif()
endforeach()
if(SIGHTLINE_SANITIZE)
  add_test(NAME sim/sanitized COMMAND sightline_sim --seeds 700)
  set_tests_properties(sim/sanitized PROPERTIES LABELS sanitized COST 50)
endif()
add_custom_target(sanitized_tests DEPENDS ${sanitized_tests})
add_custom_target(thread_tests DEPENDS ${thread_tests})

# The page in a real browser, against the program. `npm ci` is done by tools/deps.sh.
if(TARGET sightline AND NOT SIGHTLINE_SANITIZE AND NOT SIGHTLINE_COVERAGE)
  file(GLOB browser_tests CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/browser/*_test.mjs")
  foreach(file ${browser_tests})
    get_filename_component(name "${file}" NAME_WE)
    add_test(NAME browser/${name} COMMAND node --test "${file}")
    set_tests_properties(browser/${name} PROPERTIES LABELS browser
                         ENVIRONMENT "SIGHTLINE_BIN=$<TARGET_FILE:sightline>")
  endforeach()
endif()
