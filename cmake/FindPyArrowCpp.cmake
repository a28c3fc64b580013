# Arrow C++ as the wheel `pyarrow` brings it (tools/deps.sh puts it into .deps/arrow).
#
# The wheel has headers and versioned libraries, but neither the symlinks that a linker looks for nor
# CMake files: each library is imported by its file.
#
# Targets: PyArrowCpp::arrow, PyArrowCpp::compute, PyArrowCpp::parquet, PyArrowCpp::s3.
# PyArrowCpp_ROOT may name another directory `pyarrow`.
set(PyArrowCpp_ROOT "${PROJECT_SOURCE_DIR}/.deps/arrow/pyarrow" CACHE PATH "directory of the package pyarrow")
set(_config "${PyArrowCpp_ROOT}/include/arrow/util/config.h")
set(_missing "Arrow C++ is not in ${PyArrowCpp_ROOT}: run tools/deps.sh run")
if(EXISTS "${_config}")
  file(STRINGS "${_config}" _lines REGEX "#define ARROW_(VERSION_STRING|SO_VERSION) ")
  string(REGEX MATCH "ARROW_VERSION_STRING \"([^\"]+)\"" _ "${_lines}")
  set(PyArrowCpp_VERSION "${CMAKE_MATCH_1}")
  string(REGEX MATCH "ARROW_SO_VERSION \"([^\"]+)\"" _ "${_lines}")
  set(_so_version "${CMAKE_MATCH_1}")
  find_file(PyArrowCpp_LIBRARY "libarrow.so.${_so_version}" PATHS "${PyArrowCpp_ROOT}" NO_DEFAULT_PATH)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(PyArrowCpp
  REQUIRED_VARS PyArrowCpp_LIBRARY VERSION_VAR PyArrowCpp_VERSION REASON_FAILURE_MESSAGE "${_missing}")

function(_pyarrow_library name library)
  if(TARGET PyArrowCpp::${name})
    return()
  endif()
  set(file "${library}.so.${_so_version}")
  add_library(PyArrowCpp::${name} SHARED IMPORTED GLOBAL)
  set_target_properties(PyArrowCpp::${name} PROPERTIES
    IMPORTED_LOCATION "${PyArrowCpp_ROOT}/${file}"
    IMPORTED_SONAME "${file}"
    INTERFACE_INCLUDE_DIRECTORIES "${PyArrowCpp_ROOT}/include"
    INTERFACE_LINK_LIBRARIES "${ARGN}")
endfunction()
if(PyArrowCpp_FOUND)
  _pyarrow_library(arrow libarrow)
  _pyarrow_library(compute libarrow_compute PyArrowCpp::arrow)
  _pyarrow_library(parquet libparquet PyArrowCpp::arrow)
  _pyarrow_library(s3 libarrow_s3 PyArrowCpp::arrow)
  # libparquet exports the symbols of a newer simdjson of its own, with other layouts. Link options come
  # first on the command line, so that whoever links both finds Debian's in Debian's library.
  if(TARGET simdjson::simdjson)
    set_property(TARGET PyArrowCpp::arrow APPEND PROPERTY
      INTERFACE_LINK_OPTIONS "$<TARGET_FILE:simdjson::simdjson>")
  endif()
endif()
