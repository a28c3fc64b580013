# The page's files (web/*.html, *.css, *.js, *.svg, *.json) become part of the program: an assembler file
# takes them in with .incbin and has the table that page.cc reads. A changed file rebuilds it.
enable_language(ASM)
file(GLOB page_files CONFIGURE_DEPENDS
     "${PROJECT_SOURCE_DIR}/web/*.html" "${PROJECT_SOURCE_DIR}/web/*.css"
     "${PROJECT_SOURCE_DIR}/web/*.js" "${PROJECT_SOURCE_DIR}/web/*.svg"
     "${PROJECT_SOURCE_DIR}/web/*.json")
set(contents "    .section .rodata\n")
set(table "")
set(number 0)
foreach(file ${page_files})
  get_filename_component(name "${file}" NAME)
  string(APPEND contents "name${number}: .asciz \"${name}\"\n"
                         "begin${number}: .incbin \"${file}\"\n"
                         "end${number}: .byte 0\n")
  string(APPEND table "    .quad name${number}, begin${number}, end${number}\n")
  math(EXPR number "${number} + 1")
endforeach()
file(CONFIGURE OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/page_files.S" @ONLY CONTENT
"@contents@
    .section .data.rel.ro, \"aw\", %progbits
    .balign 8
    .globl sightline_page_files
sightline_page_files:
@table@    .quad 0, 0, 0
    .section .note.GNU-stack, \"\", %progbits
")
set_source_files_properties("${CMAKE_CURRENT_BINARY_DIR}/page_files.S"
                            PROPERTIES OBJECT_DEPENDS "${page_files}")
target_sources(room_server PRIVATE "${CMAKE_CURRENT_BINARY_DIR}/page_files.S")
