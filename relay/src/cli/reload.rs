//! `landbridge reload`: a running relay reads its configuration anew.

use std::path::Path;

use landbridge_protocol::frame::{
    FromAdmin, ToAdmin,
    admin::{Report, Request},
};

use super::{
    Exit, Failure, Target,
    admin::Operator,
    output::{self, say},
};

pub(super) async fn reload(to: &Target, config: Option<&Path>) -> Result<Exit, Failure> {
    // The relay has a working directory of its own.
    let absolute = config.map(std::path::absolute).transpose();
    let file = absolute.map_err(|error| Failure::because(Exit::Usage, &error))?;
    let file = file.map(|path| path.into_os_string().into_string());
    let no_text = |path| Failure::new(Exit::Usage, format!("the path {path:?} is no text; give the file another name"));
    let file = file.transpose().map_err(no_text)?;
    let mut operator = Operator::connect(&to.profile()?).await?;
    let reloaded = match operator.exchange(&ToAdmin::Request(Request::Reload { file })).await? {
        FromAdmin::Report(Report::Reloaded(reloaded)) => reloaded,
        other => return Err(operator.unexpected(&other)),
    };
    operator.close().await;
    if to.json {
        output::json(&reloaded)?;
        return Ok(Exit::Done);
    }
    match reloaded.changes.len() {
        0 => say!("{} changes nothing", reloaded.file),
        count => say!("{} is taken over; {count} changed:", reloaded.file),
    }
    reloaded.changes.iter().for_each(|change| say!("  {change}"));
    reloaded.warnings.iter().for_each(|warning| say!("note: {warning}"));
    Ok(Exit::Done)
}
