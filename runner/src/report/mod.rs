//! Reports: tables, plots and Markdown from what a run left behind.
