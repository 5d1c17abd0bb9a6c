//! The jobs of the demo: their descriptions, inputs, and what must come of them.

/// A file that the demo's user has.
pub(crate) struct File {
    pub(crate) name: &'static str,
    pub(crate) content: &'static str,
}

/// Numbers to add up.
pub(crate) const NUMBERS: File = File { name: "numbers.txt", content: "3\n14\n15\n92\n65\n35\n" };

/// Adds up an input file.
pub(crate) const SUM: File = File {
    name: "sum.xrsl",
    content: r#"&( executable = "/usr/bin/awk" )
 ( arguments = "{ sum += $1 } END { print sum }" "numbers.txt" )
 ( inputfiles = ( "numbers.txt" "numbers.txt" ) )
 ( stdout = "sum.txt" )
 ( walltime = "10 minutes" )
 ( jobname = "sum" )
"#,
};

/// The program of the next job, an input as well.
pub(crate) const TREE_SH: File = File {
    name: "tree.sh",
    content: "#!/bin/sh\nmkdir -p plots/2026\nfor i in 1 2 3; do echo \"plot $i\" > plots/2026/plot$i.txt; done\n: > plots/empty.txt\necho made 4 files\n",
};

/// Makes outputs in directories.
pub(crate) const TREE: File = File {
    name: "tree.xrsl",
    content: r#"&( executable = "tree.sh" )
 ( inputfiles = ( "tree.sh" "tree.sh" ) )
 ( outputfiles = ( "plots/" "" ) )
 ( stdout = "out.txt" )
 ( walltime = "10 minutes" )
 ( jobname = "tree" )
"#,
};

/// Fails.
pub(crate) const FAILS: File = File {
    name: "fails.xrsl",
    content: r#"&( executable = "/bin/sh" )
 ( arguments = "-c" "echo no such calibration: run 4711 >&2; exit 3" )
 ( stdout = "out.txt" )
 ( stderr = "err.txt" )
 ( walltime = "10 minutes" )
 ( jobname = "fails" )
"#,
};

/// Gets its input through WebDAV.
pub(crate) const STAGED: File = File {
    name: "staged.xrsl",
    content: r#"&( executable = "/usr/bin/wc" )
 ( arguments = "-l" "events.dat" )
 ( inputfiles = ( "events.dat" "events.dat" ) )
 ( stdout = "count.txt" )
 ( walltime = "10 minutes" )
 ( jobname = "staged" )
"#,
};

/// Lines of the input of the last one.
pub(crate) const EVENTS: usize = 20_000;

/// What must be in the results of which job.
pub(crate) const RESULTS: &[(&str, &str, &str)] = &[
    ("sum", "sum.txt", "224\n"),
    ("tree", "out.txt", "made 4 files\n"),
    ("tree", "plots/2026/plot2.txt", "plot 2\n"),
    ("tree", "plots/empty.txt", ""),
    ("staged", "count.txt", "20000 events.dat\n"),
];
