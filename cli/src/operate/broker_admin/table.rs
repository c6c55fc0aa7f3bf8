//! A table on a terminal: columns as wide as they must be, and nothing that moves the cursor.

/// Puts `rows` under `header`, a line each.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut lines = vec![header.map(str::to_owned)];
    lines.extend(rows.into_iter().map(|row| row.map(|cell| plain(&cell))));
    let mut widths = [0; N];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for line in &lines {
        let cells = line
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// What came over a socket, without control characters.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other_and_a_cell_stays_in_its_line() {
        let rows = [["dev-1", "3"], ["é\n\u{1b}[2J", ""]].map(|row| row.map(str::to_owned));
        let text = table(["DEVICE", "QUEUED"], rows.to_vec());
        assert_eq!(text, "DEVICE  QUEUED\ndev-1   3\né\u{fffd}\u{fffd}[2J\n");
    }
}
